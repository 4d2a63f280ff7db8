// The one seam between the library and the kernel: every system call of lib/os goes through call(), so a
// test can make the Nth call of any kind fail, once or for good, io_uring's completions included.
// What cannot fail on a descriptor that is open (an eventfd's read and write, EPOLL_CTL_DEL, F_GETFL) and what reads a
// constant of the process (clocks, limits) is called directly.
// Thread-safety: call() may be made from any thread; set_interceptor() while no call is being made.
#pragma once

#include <atomic>
#include <cerrno>

namespace vmm::os {

// One name per kind of kernel call.
enum class Call {
  mmap, munmap, mremap, mprotect, memfd_create, madvise, process_madvise, mbind, move_pages, prctl,
  userfaultfd, uffd_api, uffd_register, uffd_unregister, uffd_copy, uffd_zeropage, uffd_move, uffd_wake,
  uffd_writeprotect, uffd_poison, uffd_read,
  pagemap_open, pagemap_scan, pagemap_read,
  open, close, fallocate, ftruncate, pread, pwrite, unlink, statvfs, read_file,
  uring_setup, uring_submit, uring_read, uring_write,  // the last two: results of completed requests
  eventfd, epoll_create, epoll_ctl, epoll_wait, timerfd,
  socket, bind, listen, accept, receive, send, poll,
  thread_create, sched_getaffinity, sched_setaffinity, setpriority,
  kCount
};

const char* to_string(Call call) noexcept;

// Asked before each call: an errno makes the call fail with it without being made, 0 lets it through.
// Runs on fault threads: it may not allocate or block (a test that blocks one on purpose excepted).
class Interceptor {
 public:
  virtual ~Interceptor() = default;
  virtual int before(Call call) noexcept = 0;
};

namespace internal {
extern std::atomic<Interceptor*> interceptor;
}

// nullptr removes it. Test seam; not for production use.
void set_interceptor(Interceptor* interceptor) noexcept;

inline int injected_failure(Call which) noexcept {
  if (auto* i = internal::interceptor.load(std::memory_order_acquire)) [[unlikely]] return i->before(which);
  return 0;
}

// Makes the call `f` unless a test injects a failure; then returns -1 of f's type with errno set.
template <class F>
auto call(Call which, F&& f) noexcept -> decltype(f()) {
  if (const int error = injected_failure(which)) [[unlikely]] {
    errno = error;
    return (decltype(f()))(-1);
  }
  return f();
}

}  // namespace vmm::os
