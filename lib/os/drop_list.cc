#include "os/drop_list.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "os/call.h"
#include "os/kernel_abi.h"
#include "os/mapping.h"

namespace vmm::os {

void DropList::add(void* start, std::uint64_t bytes) noexcept {
  ranges_[count_++] = {start, bytes};
  if (count_ == ranges_.size()) drop();
}

void DropList::drop() noexcept {
  if (count_ > 1 && at_once_) {
    std::uint64_t wanted = 0;
    for (std::size_t i = 0; i < count_; ++i) wanted += ranges_[i].iov_len;
    const auto done = call(Call::process_madvise, [&] {
      return ::syscall(SYS_process_madvise, PIDFD_SELF_THREAD, ranges_.data(), count_, MADV_DONTNEED, 0);
    });
    if (done >= 0 && static_cast<std::uint64_t>(done) == wanted) count_ = 0;
    // An older kernel, or a filter of system calls. Other errors are those of a range, which may be locked (mlock) and
    // take another advice.
    else if (done < 0 && (errno == EBADF || errno == ENOSYS || errno == EPERM)) at_once_ = false;
  }
  for (std::size_t i = 0; i < count_; ++i) static_cast<void>(drop_pages(ranges_[i].iov_base, ranges_[i].iov_len));
  count_ = 0;
}

}  // namespace vmm::os
