// How much memory this process may use: the machine's, and the limits of the control groups it is in.
// Thread-safety: every function may be called from any thread; they allocate and read files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vmm::os {

struct MemoryLimit {
  std::uint64_t machine = 0;      // bytes; 0 = unknown
  std::uint64_t cgroup = 0;       // bytes; 0 = none
  std::string cgroup_source;      // the file with the cgroup limit
  std::uint64_t cgroup_used = 0;  // bytes charged to the group that sets the limit; 0 = unknown
  std::uint64_t cgroup_cache = 0; // part of them that is cache of files, which the kernel drops by itself

  // The least of those known; 0 = none is.
  std::uint64_t effective() const noexcept {
    if (cgroup == 0 || (machine != 0 && machine < cgroup)) return machine;
    return cgroup;
  }
};

// Never fails: what cannot be read does not limit.
MemoryLimit memory_limit();

// A folder of a control-group file system whose memory limit applies to this process.
struct CgroupFolder {
  std::string path;
  bool v2 = false;
};

// The folders of the group and all its visible ancestors, innermost first, of version 1 and 2, from the texts of
// /proc/self/cgroup and /proc/self/mountinfo. Pure.
std::vector<CgroupFolder> cgroup_memory_folders(std::string_view self_cgroup, std::string_view mountinfo);

// The smallest limit of the folders: memory.max and memory.high of version 2, memory.limit_in_bytes and the
// hierarchical limit of version 1, which counts ancestors that a container does not see. Fills the cgroup fields.
MemoryLimit smallest_cgroup_limit(const std::vector<CgroupFolder>& folders);

}  // namespace vmm::os
