// Residue: what a process has of the kernel's things, before and after hosts have come and gone.
// Thread-safety: pure.
#pragma once

#include <cstddef>
#include <string>

namespace vmm::stress {

struct Residue {
  std::size_t descriptors = 0;
  std::size_t library_threads = 0;  // named vmm-*
  std::size_t threads = 0;
  std::size_t userfaultfds = 0;  // descriptors and mappings that only the library makes
  std::size_t registered = 0;    // mappings registered with a userfaultfd
  std::size_t mappings = 0;

  static Residue now();
};

// What `after` has more than `before`, in words; empty if nothing. The allocator and the threads of the test leave a
// few mappings behind: their number may grow by `spare_mappings`.
std::string left_over(const Residue& before, const Residue& after, std::size_t spare_mappings);

}  // namespace vmm::stress
