// FileSizeSignalBlocked: a file that would grow too large is an error, and not the end of the process.
// Thread-safety: of the thread that has it.
#pragma once

#include <signal.h>

#include <ctime>

namespace vmm::os {

// While it lives, growing a file past RLIMIT_FSIZE is an EFBIG to this thread and not also a SIGXFSZ, which
// would end the process.
class FileSizeSignalBlocked {
 public:
  FileSizeSignalBlocked() noexcept {
    ::sigemptyset(&set_);
    ::sigaddset(&set_, SIGXFSZ);
    ::pthread_sigmask(SIG_BLOCK, &set_, &before_);
    sigset_t pending;
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, SIGXFSZ) == 1;
  }
  ~FileSizeSignalBlocked() {
    constexpr timespec kNow{0, 0};
    if (!was_pending_) ::sigtimedwait(&set_, nullptr, &kNow);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  FileSizeSignalBlocked(const FileSizeSignalBlocked&) = delete;
  FileSizeSignalBlocked& operator=(const FileSizeSignalBlocked&) = delete;

 private:
  sigset_t set_;
  sigset_t before_;
  bool was_pending_ = false;
};

}  // namespace vmm::os
