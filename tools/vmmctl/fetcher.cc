#include "fetcher.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <system_error>

namespace vmmctl {
namespace {

// Results that nobody takes, because the terminal is stopped, do not pile up.
constexpr std::size_t kMostResults = 64;

void signal_to(const Descriptor& eventfd) {
  const std::uint64_t one = 1;
  // It fails only when it is readable already.
  [[maybe_unused]] const auto written = ::write(eventfd.get(), &one, sizeof one);
}

Limits limits_with(int cancel) {
  Limits limits;
  limits.cancel = cancel;
  return limits;
}

}  // namespace

Result<std::unique_ptr<Fetcher>> Fetcher::create(const std::string& socket_path, std::chrono::milliseconds interval) {
  Descriptor ready(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  Descriptor end(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!ready.valid() || !end.valid())
    return fail(FailureKind::system, "eventfd: " + std::generic_category().message(errno));
  return std::unique_ptr<Fetcher>(new Fetcher(socket_path, interval, std::move(ready), std::move(end)));
}

Fetcher::Fetcher(const std::string& socket_path, std::chrono::milliseconds interval, Descriptor ready, Descriptor end)
    : ready_(std::move(ready)),
      end_(std::move(end)),
      sampler_(socket_path, limits_with(end_.get())),
      interval_(interval) {
  // Signals are the main thread's.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Fetcher::~Fetcher() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  signal_to(end_);
  thread_.join();
}

void Fetcher::run() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    const auto begun = std::chrono::steady_clock::now();
    ask_now_ = false;
    lock.unlock();
    auto result = sampler_.next();
    lock.lock();
    results_.push_back(std::move(result));
    if (results_.size() > kMostResults) results_.pop_front();
    signal_to(ready_);
    while (!ending_ && !ask_now_ && std::chrono::steady_clock::now() < begun + interval_)
      changed_.wait_until(lock, begun + interval_);
  }
}

std::deque<Result<Sample>> Fetcher::take() {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto read = ::read(ready_.get(), &count, sizeof count);
  const std::lock_guard lock(mutex_);
  return std::exchange(results_, {});
}

void Fetcher::set_interval(std::chrono::milliseconds interval) {
  {
    const std::lock_guard lock(mutex_);
    interval_ = interval;
  }
  changed_.notify_one();
}

void Fetcher::ask_now() {
  {
    const std::lock_guard lock(mutex_);
    ask_now_ = true;
  }
  changed_.notify_one();
}

}  // namespace vmmctl
