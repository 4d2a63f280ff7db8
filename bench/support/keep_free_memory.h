// KeepFreeMemory: while it lives the kernel does not hand free memory back to a hypervisor (free page reporting).
//
// What was handed back costs some 10 us a page when it is used again, 5 ms for a huge page instead of 0.1, and chance
// decides whose turn of a comparison pays for it. The setting is put back at the end, also where the bench is killed.
// Thread-safety: one thread.
#pragma once

#include <memory>
#include <string>

#include "support/child.h"

namespace vmm::bench {

class KeepFreeMemory {
 public:
  // `program`: this program. Does nothing where there is no such setting or it may not be written.
  explicit KeepFreeMemory(const std::string& program);

  // The guardian's main: puts `value` back into the file when its input ends.
  static int guard(const char* path, const char* value) noexcept;

 private:
  std::unique_ptr<Child> guardian_;
};

}  // namespace vmm::bench
