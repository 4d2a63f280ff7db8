// How much anonymous memory this process has, in one short read.
// Thread-safety: pages() may be called from any thread; it allocates nothing.
#pragma once

#include <cstdint>

#include "os/file.h"
#include "vmm/result.h"

namespace vmm::os {

class ProcessMemory {
 public:
  ProcessMemory() noexcept = default;
  // Errors: EMFILE, EACCES.
  static Result<ProcessMemory> open();
  // Resident anonymous pages (/proc/self/statm: resident - shared). Exact from Linux 6.12 on, before that up to 65
  // pages a thread late. 0 if it cannot be read.
  std::uint64_t pages() const noexcept;

 private:
  FileDescriptor fd_;
};

}  // namespace vmm::os
