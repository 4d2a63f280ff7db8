#include "host/seat.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <new>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "host/guest_core.h"
#include "host/host_core.h"
#include "os/affinity.h"
#include "os/nice.h"
#include "policy/thread_weights.h"

namespace vmm {

namespace host {
namespace {

// Marks the end of a thread, so that nobody touches a later thread that got its id.
struct TokenOwner {
  std::shared_ptr<ThreadToken> token = std::make_shared<ThreadToken>();
  ~TokenOwner() {
    base::MutexLock lock(token->mutex);
    token->alive = false;
  }
};

}  // namespace

std::shared_ptr<ThreadToken> current_thread_token() {
  thread_local TokenOwner owner;
  return owner.token;
}

}  // namespace host

void Seat::Impl::release() noexcept {
  if (guest == nullptr || guest->host().in_child()) return;
  {
    base::MutexLock lock(thread->mutex);
    if (!thread->seated) return;
    thread->seated = false;
    if (thread->alive && changed) static_cast<void>(os::set_thread_affinity(tid, own_affinity));
    // A value that somebody else has given it stays.
    if (thread->alive && own_nice && nice != *own_nice && os::thread_nice(tid).value_or(nice + 1) == nice)
      static_cast<void>(os::set_thread_nice(tid, *own_nice));
  }
  guest->leave(this);
}

std::vector<int> Seat::Impl::cpus_on(const topology::Node& node) const {
  std::vector<int> cpus;
  std::set_intersection(own_affinity.begin(), own_affinity.end(), node.cpus.begin(), node.cpus.end(),
                        std::back_inserter(cpus));
  return cpus;
}

Result<void> Seat::Impl::fits(const topology::Node& node) const {
  {
    base::MutexLock lock(thread->mutex);
    if (own_affinity.empty() || !thread->alive || !thread->seated) return {};
  }
  if (!cpus_on(node).empty()) return {};
  return base::invalid("seat of thread " + std::to_string(tid) + " in guest \"" + guest->name() + "\": its affinity " +
                           base::list_text(own_affinity) + " has no processor of home node " +
                           std::to_string(node.id) + " (" + base::list_text(node.cpus) + ")",
                       "widen the thread's affinity, or attach with Attach::measure_only");
}

Result<void> Seat::Impl::bind(const topology::Node& node) {
  if (auto r = fits(node); !r) return r;
  const auto cpus = cpus_on(node);
  base::MutexLock lock(thread->mutex);
  if (own_affinity.empty() || !thread->alive || !thread->seated) return {};
  if (!changed && cpus == own_affinity) return {};
  if (auto set = os::set_thread_affinity(tid, cpus); !set) return set;
  changed = true;
  return {};
}

bool Seat::Impl::try_bind(const topology::Node& node) noexcept {
  try {
    return bind(node).has_value();
  } catch (const std::bad_alloc&) {
    return false;
  }
}

Result<void> Seat::Impl::weigh(int more) {
  base::MutexLock lock(thread->mutex);
  if (own_affinity.empty() || unweighable || !thread->alive || !thread->seated || (!own_nice && more == 0)) return {};
  const auto refuse = [&](Result<void> why) {
    unweighable = true;
    return why;
  };
  const auto now = os::thread_nice(tid);
  if (!now) return refuse(tl::unexpected(now.error()));
  if (!own_nice || *now != nice) {
    const auto possible = os::can_lower_nice(*now);
    if (!possible) return refuse(tl::unexpected(possible.error()));
    if (!*possible)
      return refuse(base::fail_errno(EPERM, "nice value of thread " + std::to_string(tid) + ": it would not get its own, " +
                                                std::to_string(*now) + ", back",
                                     "give the process CAP_SYS_NICE or a higher RLIMIT_NICE"));
    own_nice = nice = *now;
  }
  const int wanted = std::min(*own_nice + more, policy::kMostNice);
  if (wanted == nice) return {};
  if (auto r = os::set_thread_nice(tid, wanted); !r) return refuse(r);
  nice = wanted;
  return {};
}

int Seat::Impl::weighed() const noexcept {
  base::MutexLock lock(thread->mutex);
  return thread->alive && own_nice ? nice - *own_nice : 0;
}

std::optional<Seat::Impl::Times> Seat::Impl::times_since_look() {
  base::MutexLock lock(thread->mutex);
  if (!thread->alive) return std::nullopt;
  const auto cpu = os::thread_cpu_ns(tid), wait = os::thread_wait_ns(tid);
  Times times;
  const auto since = [](const Result<std::uint64_t>& now, std::uint64_t& seen) {
    const auto before = seen;
    if (now) seen = std::max(seen, *now);
    return seen - before;
  };
  times.cpu = since(cpu, seen_cpu);
  times.wait = since(wait, seen_wait);
  return times;
}

std::uint64_t Seat::Impl::cpu_ns() const noexcept {
  base::MutexLock lock(thread->mutex);
  if (!thread->alive) return 0;
  const auto now = os::thread_cpu_ns(tid);
  return now && *now > cpu_at_attach ? *now - cpu_at_attach : 0;
}

Seat::Seat() noexcept = default;
Seat::Seat(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Seat::Seat(Seat&& other) noexcept : impl_(std::exchange(other.impl_, nullptr)) {}
Seat& Seat::operator=(Seat&& other) noexcept {
  if (this != &other) {
    release();
    impl_ = std::exchange(other.impl_, nullptr);
  }
  return *this;
}
Seat::~Seat() { release(); }

void Seat::release() noexcept {
  if (impl_ == nullptr) return;
  impl_->release();
  impl_ = nullptr;
}

}  // namespace vmm
