// Userfaultfd: one descriptor through which the library supplies, moves and protects pages.
// Thread-safety: every function but open() and the move operations may be called from any thread, fault
// threads included; none allocates or logs. Addresses and lengths are multiples of kPageSize.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/file.h"
#include "vmm/result.h"

namespace vmm::os {

// A page that a thread waits for.
struct FaultEvent {
  std::uint64_t address;  // of the page
  bool write;             // the access was a write
  bool write_protected;   // the page is there, but protected
  bool other;             // an event of another kind: a mapping has been moved
  int thread;             // kernel id of the thread that waits
};

// What an operation did: `bytes` from the start of the range are done, `error` (an errno) stopped it, 0 = all.
struct Progress {
  std::uint64_t bytes;
  int error;
};

struct UffdFeatures {
  bool move = false;          // UFFDIO_MOVE
  bool wp_async = false;      // the kernel resolves write-protect faults itself
  bool poison = false;        // UFFDIO_POISON
  bool remap = false;         // a registered mapping that is moved stays registered; who moves it waits for a read()
  bool protect_files = false; // mappings of memory files can be write-protected (Linux >= 5.19)
  bool user_mode_only = false;  // found, not asked for: kernel-mode faults get EFAULT
};

class Userfaultfd {
 public:
  Userfaultfd() noexcept = default;
  // Non-blocking, close-on-exec. Tries /dev/userfaultfd, the system call, then user mode only.
  // Errors: EINVAL (a wanted feature is not there), EPERM, ENOSYS, EMFILE.
  static Result<Userfaultfd> open(UffdFeatures wanted);

  int fd() const noexcept { return fd_.get(); }
  const UffdFeatures& features() const noexcept { return features_; }

  // All return an errno, 0 = done.
  int register_range(const void* start, std::uint64_t bytes, bool write_protect) const noexcept;
  // For write-protect faults alone: missing pages are the kernel's business.
  int register_writes(const void* start, std::uint64_t bytes) const noexcept;
  int unregister_range(const void* start, std::uint64_t bytes) const noexcept;
  int wake(const void* start, std::uint64_t bytes) const noexcept;
  int write_protect(const void* start, std::uint64_t bytes, bool protect) const noexcept;
  // Later accesses get SIGBUS. ENOTTY/EINVAL before Linux 6.6.
  int poison(const void* start, std::uint64_t bytes) const noexcept;

  // Copies into missing pages and wakes who waits. Partial success is resumed until an error stops it.
  Progress copy(void* to, const void* from, std::uint64_t bytes, bool protect) const noexcept;
  // Maps the zero page into missing pages and wakes.
  Progress zero(void* to, std::uint64_t bytes) const noexcept;
  // Moves pages from `from` (any range of this process) into missing pages and wakes.
  Progress move(void* to, void* from, std::uint64_t bytes) const noexcept;

  // Reads up to `most` (<= 64) events. Returns how many, or -errno (-EAGAIN: none).
  int read(FaultEvent* events, int most) const noexcept;

 private:
  FileDescriptor fd_;
  UffdFeatures features_;
};

}  // namespace vmm::os
