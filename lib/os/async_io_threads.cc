#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/mutex.h"
#include "os/async_io_backends.h"
#include "os/call.h"
#include "os/poller.h"
#include "os/thread.h"

namespace vmm::os::internal {
namespace {

// Enough to keep a disk's queue filled with runs of pages; more threads only add switches.
constexpr unsigned kPoolThreads = 8;

// First in, first out, without allocation.
template <class T>
class Ring {
 public:
  std::size_t size() const noexcept { return count_; }
  void push(const T& item) noexcept { items_[(first_ + count_++) % items_.size()] = item; }
  T pop() noexcept {
    const T item = items_[first_];
    first_ = (first_ + 1) % items_.size();
    --count_;
    return item;
  }

 private:
  std::array<T, AsyncIo::kMaxDepth> items_;  // never more than the depth
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

int transfer(const IoRequest& r) noexcept {
  const auto offset = static_cast<off_t>(r.offset);
  const ssize_t result = r.op == IoOp::read
                             ? call(Call::pread, [&] { return ::pread(r.fd, r.buffer, r.bytes, offset); })
                             : call(Call::pwrite, [&] { return ::pwrite(r.fd, r.buffer, r.bytes, offset); });
  return result < 0 ? -errno : static_cast<int>(result);
}

class ThreadIo final : public AsyncIo {
 public:
  static Result<std::unique_ptr<AsyncIo>> create(unsigned depth, const char* thread_name);

  ~ThreadIo() override {
    if (::getpid() != creator_) {
      // A fork's child: the threads stayed in the parent, and nobody will ever leave the condition variables.
      [[maybe_unused]] auto* left_alone = pool_.release();
      return;
    }
    std::array<IoCompletion, 32> lost;
    while (reap(lost, true) > 0) {
    }
    pool_->stop();
    threads_ = {};
  }

  bool submit(const IoRequest& request) noexcept override {
    if (in_flight_ == depth_) return false;
    queued_.push(request);
    ++in_flight_;
    return true;
  }

  void flush() noexcept override {
    if (queued_.size() > 0) pool_->start(queued_);
  }

  std::size_t reap(std::span<IoCompletion> out, bool wait) noexcept override {
    if (wait) flush();
    // Cleared before the look: what completes after the look rings again.
    pool_->bell.clear();
    const std::size_t count = pool_->take(out, wait && in_flight_ > 0);
    in_flight_ -= static_cast<unsigned>(count);
    return count;
  }

  EventFds event_fds() const noexcept override { return {pool_->bell.fd(), -1}; }
  unsigned in_flight() const noexcept override { return in_flight_; }
  Backend backend() const noexcept override { return Backend::threads; }

 private:
  // What the owner and the pool's threads share. Its address is constant.
  struct Pool {
    void start(Ring<IoRequest>& queued) VMM_EXCLUDES(mutex) {
      std::size_t wanted = std::min<std::size_t>(queued.size(), kPoolThreads);
      {
        base::MutexLock lock(mutex);
        while (queued.size() > 0) waiting.push(queued.pop());
      }
      for (; wanted > 0; --wanted) work.notify_one();
    }

    std::size_t take(std::span<IoCompletion> out, bool wait) VMM_EXCLUDES(mutex) {
      std::size_t count = 0;
      bool more = false;
      {
        base::MutexLock lock(mutex);
        while (wait && !out.empty() && done.size() == 0) finished.wait(mutex);
        while (count < out.size() && done.size() > 0) out[count++] = done.pop();
        more = done.size() > 0;
      }
      if (more) bell.ring();
      return count;
    }

    void stop() VMM_EXCLUDES(mutex) {
      {
        base::MutexLock lock(mutex);
        stopping = true;
      }
      work.notify_all();
    }

    // A thread of the pool.
    void run() VMM_EXCLUDES(mutex) {
      IoRequest request;
      while (next(request)) {
        const int result = transfer(request);
        bool first = false;
        {
          base::MutexLock lock(mutex);
          first = done.size() == 0;
          done.push({request.tag, result});
        }
        finished.notify_one();
        if (first) bell.ring();
      }
    }

    bool next(IoRequest& request) VMM_EXCLUDES(mutex) {
      base::MutexLock lock(mutex);
      while (waiting.size() == 0 && !stopping) work.wait(mutex);
      if (waiting.size() == 0) return false;
      request = waiting.pop();
      return true;
    }

    Doorbell bell;
    base::Mutex mutex{base::LockRank::leaf};
    base::CondVar work;
    base::CondVar finished;
    Ring<IoRequest> waiting VMM_GUARDED_BY(mutex);
    Ring<IoCompletion> done VMM_GUARDED_BY(mutex);
    bool stopping VMM_GUARDED_BY(mutex) = false;
  };

  ThreadIo(unsigned depth, std::unique_ptr<Pool> pool) noexcept
      : depth_(depth), creator_(::getpid()), pool_(std::move(pool)) {}

  const unsigned depth_;
  const pid_t creator_;
  std::unique_ptr<Pool> pool_;
  std::array<Thread, kPoolThreads> threads_;
  Ring<IoRequest> queued_;  // not yet seen by the pool
  unsigned in_flight_ = 0;
};

Result<std::unique_ptr<AsyncIo>> ThreadIo::create(unsigned depth, const char* thread_name) {
  std::unique_ptr<Pool> pool(new (std::nothrow) Pool);
  if (!pool) return base::fail_errno(ENOMEM, "AsyncIo over threads", "free memory in this process");
  auto bell = Doorbell::create();
  if (!bell) return tl::unexpected<Error>(bell.error());
  pool->bell = std::move(*bell);
  Pool* shared = pool.get();
  std::unique_ptr<ThreadIo> io(new (std::nothrow) ThreadIo(depth, std::move(pool)));
  if (!io) return base::fail_errno(ENOMEM, "AsyncIo over threads", "free memory in this process");
  for (unsigned i = 0; i < std::min(depth, kPoolThreads); ++i) {
    auto thread = Thread::start(thread_name, [shared] { shared->run(); });
    // One thread is enough to go on with; fewer than planned only cost speed.
    if (!thread && i == 0) return tl::unexpected<Error>(thread.error());
    if (!thread) break;
    io->threads_[i] = std::move(*thread);
  }
  return std::unique_ptr<AsyncIo>(std::move(io));
}

}  // namespace

Result<std::unique_ptr<AsyncIo>> create_thread_io(unsigned depth, const char* thread_name) {
  return ThreadIo::create(depth, thread_name);
}

}  // namespace vmm::os::internal
