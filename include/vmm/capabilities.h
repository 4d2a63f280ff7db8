// What this kernel and this process allow, and what to do where they do not.
// Thread-safety: probe() may be called from any thread at any time; it opens and closes what it tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmm/export.h"

namespace vmm {

// Whether one thing is there.
enum class CapabilityState {
  available,  // all of it
  limited,    // there, with a consequence that is worth knowing
  missing,    // not there
};

// One thing libvmm uses.
struct Capability {
  std::string name;    // "userfaultfd", "uffdio_move", "io_uring", ...
  CapabilityState state = CapabilityState::missing;  // whether it is there
  std::string detail;  // what was found: a path, an errno, a figure
  std::string consequence;  // what is different without it
  std::string remedy;       // what would give it
};

// What the items together make possible.
enum class CapabilityLevel {
  full,       // UFFDIO_MOVE, WP_ASYNC, PAGEMAP_SCAN (Linux >= 6.8)
  baseline,   // synchronous write-protect (Linux >= 5.14)
  user_mode,  // userfaultfd for user-mode faults only: system calls into missing pages fail with EFAULT
  none,       // no userfaultfd: guests stay native, nothing can be reclaimed
};

// The enumerator's name.
VMM_API const char* to_string(CapabilityLevel level) noexcept;
// The enumerator's name.
VMM_API const char* to_string(CapabilityState state) noexcept;

// What probe() has found.
struct Capabilities {
  CapabilityLevel level = CapabilityLevel::none;  // of all items together
  std::vector<Capability> items;                  // one of each name

  // The item of that name, or nullptr.
  VMM_API const Capability* find(const std::string& name) const;
  // True unless the item is missing or unknown; what is `limited` is there.
  VMM_API bool has(const std::string& name) const;

  // Figures behind the items, for who wants numbers:
  std::uint64_t max_map_count = 0;     // vm.max_map_count: most mappings of a process
  std::uint64_t maps_in_use = 0;       // mappings that this process has
  std::uint64_t cgroup_limit = 0;      // bytes; 0 = none
  std::uint64_t machine_memory = 0;    // bytes
  std::uint64_t swap_space_free = 0;   // bytes free in the swap directory
  unsigned nodes = 0;                  // NUMA nodes that this process may use
};

// Tries everything libvmm may use, and `swap_directory` (empty = the default of HostOptions) for swap files.
VMM_API Capabilities probe(const std::string& swap_directory = {});

}  // namespace vmm
