// AsyncIo: reads and writes of files with many in flight, over io_uring or, where that is missing or
// forbidden, over threads of its own that call pread and pwrite. Both give the same results.
// Thread-safety: one AsyncIo belongs to one thread at a time. That thread has SIGXFSZ blocked (all threads of
// the library have every signal blocked): a write past RLIMIT_FSIZE is then EFBIG in the completion.
// Fault threads may use it: after create() nothing is allocated or logged, and no lock is held over a syscall.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "vmm/result.h"

namespace vmm::os {

enum class IoOp : std::uint8_t { read, write };

// `buffer` stays valid, and for a read untouched, until the completion is reaped.
struct IoRequest {
  IoOp op;
  int fd;
  void* buffer;
  std::uint32_t bytes;
  std::uint64_t offset;
  std::uint64_t tag;  // handed back with the completion
};

// `result`: bytes transferred, or -errno. A short transfer is passed on as it is.
struct IoCompletion {
  std::uint64_t tag;
  int result;
};

class AsyncIo {
 public:
  enum class Backend { automatic, io_uring, threads };
  static constexpr unsigned kMaxDepth = 256;

  // `depth`: requests in flight at most, 1..kMaxDepth. `thread_name`: of the pool's threads, 15 characters of it.
  // automatic: io_uring, or threads if it cannot be set up for whatever reason.
  // Errors: EINVAL (depth), any errno of io_uring_setup, eventfd, pthread_create.
  static Result<std::unique_ptr<AsyncIo>> create(Backend backend, unsigned depth, const char* thread_name);

  // Waits for what is in flight; its completions are lost.
  virtual ~AsyncIo() = default;
  AsyncIo(const AsyncIo&) = delete;
  AsyncIo& operator=(const AsyncIo&) = delete;

  // Queues the request. False: `depth` requests are in flight and nothing was queued. Never blocks.
  virtual bool submit(const IoRequest& request) noexcept = 0;

  // Starts what is queued. If the kernel refuses, the requests complete with its errno: none is lost.
  virtual void flush() noexcept = 0;

  // Takes completions, in any order; returns how many. wait: flushes, then blocks until there is one, and
  // returns 0 only if nothing is in flight (or `out` is empty).
  virtual std::size_t reap(std::span<IoCompletion> out, bool wait) noexcept = 0;

  // Descriptors for epoll (EPOLLIN, level-triggered), -1 = none: one is readable while there are completions, now and
  // then also when there are none. Only reap() makes them unreadable. Do not read them.
  // With io_uring an epoll_wait of the owner may return EINTR although no signal came: that is a completion most of
  // the time, and reap() costs no system call.
  using EventFds = std::array<int, 2>;
  virtual EventFds event_fds() const noexcept = 0;

  // Queued, started, and completed but not yet reaped.
  virtual unsigned in_flight() const noexcept = 0;

  // Never automatic.
  virtual Backend backend() const noexcept = 0;

 protected:
  AsyncIo() = default;
};

}  // namespace vmm::os
