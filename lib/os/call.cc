#include "os/call.h"

namespace vmm::os {

namespace internal {
std::atomic<Interceptor*> interceptor{nullptr};
}

void set_interceptor(Interceptor* i) noexcept { internal::interceptor.store(i, std::memory_order_release); }

const char* to_string(Call call) noexcept {
  switch (call) {
    case Call::mmap: return "mmap";
    case Call::munmap: return "munmap";
    case Call::mremap: return "mremap";
    case Call::mprotect: return "mprotect";
    case Call::memfd_create: return "memfd_create";
    case Call::madvise: return "madvise";
    case Call::process_madvise: return "process_madvise";
    case Call::mbind: return "mbind";
    case Call::move_pages: return "move_pages";
    case Call::prctl: return "prctl";
    case Call::userfaultfd: return "userfaultfd";
    case Call::uffd_api: return "UFFDIO_API";
    case Call::uffd_register: return "UFFDIO_REGISTER";
    case Call::uffd_unregister: return "UFFDIO_UNREGISTER";
    case Call::uffd_copy: return "UFFDIO_COPY";
    case Call::uffd_zeropage: return "UFFDIO_ZEROPAGE";
    case Call::uffd_move: return "UFFDIO_MOVE";
    case Call::uffd_wake: return "UFFDIO_WAKE";
    case Call::uffd_writeprotect: return "UFFDIO_WRITEPROTECT";
    case Call::uffd_poison: return "UFFDIO_POISON";
    case Call::uffd_read: return "read(userfaultfd)";
    case Call::pagemap_open: return "open(/proc/self/pagemap)";
    case Call::pagemap_scan: return "PAGEMAP_SCAN";
    case Call::pagemap_read: return "pread(/proc/self/pagemap)";
    case Call::open: return "open";
    case Call::close: return "close";
    case Call::fallocate: return "fallocate";
    case Call::ftruncate: return "ftruncate";
    case Call::pread: return "pread";
    case Call::pwrite: return "pwrite";
    case Call::unlink: return "unlink";
    case Call::statvfs: return "statvfs";
    case Call::read_file: return "read(/proc, /sys)";
    case Call::uring_setup: return "io_uring_setup";
    case Call::uring_submit: return "io_uring_enter";
    case Call::uring_read: return "io_uring read";
    case Call::uring_write: return "io_uring write";
    case Call::eventfd: return "eventfd";
    case Call::epoll_create: return "epoll_create1";
    case Call::epoll_ctl: return "epoll_ctl";
    case Call::epoll_wait: return "epoll_wait";
    case Call::timerfd: return "timerfd";
    case Call::socket: return "socket";
    case Call::bind: return "bind";
    case Call::listen: return "listen";
    case Call::accept: return "accept4";
    case Call::receive: return "recv";
    case Call::send: return "send";
    case Call::poll: return "poll";
    case Call::thread_create: return "pthread_create";
    case Call::sched_getaffinity: return "sched_getaffinity";
    case Call::sched_setaffinity: return "sched_setaffinity";
    case Call::setpriority: return "setpriority";
    case Call::kCount: break;
  }
  return "unknown call";
}

}  // namespace vmm::os
