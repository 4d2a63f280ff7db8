// The machine and the control groups this process is in.
#include <algorithm>
#include <string>
#include <vector>

#include "base/text.h"
#include "os/memory_limit.h"
#include "os/node_info.h"
#include "os/probe_parts.h"

namespace vmm::os::probing {
namespace {

void add_nodes(Capabilities& caps) {
  constexpr const char* kConsequence =
      "with one node every guest is at home there and home nodes change nothing; a memory-only node is never a home";
  constexpr const char* kRemedy = "a machine, or virtual machine, with several NUMA nodes; all of them in the cpuset";
  const auto allowed = allowed_nodes();
  const auto online = base::parse_list(read_line("/sys/devices/system/node/online"));
  if (!allowed || !online || online->empty()) {
    caps.nodes = 1;
    add(caps, "nodes", CapabilityState::limited,
        "1 node taken for granted: " +
            (allowed ? std::string("/sys/devices/system/node/online cannot be read") : failure_text(allowed.error())),
        kConsequence, kRemedy);
    return;
  }
  unsigned count = 0;
  std::vector<int> memory_only;
  std::vector<int> forbidden;
  for (const int node : *online) {
    if (!std::binary_search(allowed->begin(), allowed->end(), node)) {
      forbidden.push_back(node);
      continue;
    }
    ++count;
    const auto cpus = node_cpus(node);
    if (cpus && cpus->empty()) memory_only.push_back(node);
  }
  caps.nodes = std::max(count, 1U);
  std::string detail = std::to_string(caps.nodes) + (caps.nodes == 1 ? " node" : " nodes");
  if (!memory_only.empty()) detail += ", memory-only: " + base::list_text(memory_only);
  if (!forbidden.empty()) detail += ", not in the cpuset: " + base::list_text(forbidden);
  add(caps, "nodes", CapabilityState::available, std::move(detail), kConsequence, kRemedy);
}

void add_numa_balancing(Capabilities& caps) {
  const std::string mode = read_line("/proc/sys/kernel/numa_balancing");
  const bool off = mode.empty() || mode == "0";
  add(caps, "numa_balancing", off ? CapabilityState::available : CapabilityState::limited,
      mode.empty() ? "not in this kernel" : (off ? "off" : "on, mode " + mode),
      "while it is on the kernel moves guest pages between nodes by itself, its sampling faults slow guests down, and "
      "move_pages may call resident pages absent (ENOENT), so locality figures are estimates",
      "sysctl kernel.numa_balancing=0");
}

void add_cgroup_limit(Capabilities& caps) {
  const MemoryLimit limit = memory_limit();
  caps.machine_memory = limit.machine;
  caps.cgroup_limit = limit.cgroup;
  const bool limits = limit.cgroup != 0 && (limit.machine == 0 || limit.cgroup < limit.machine);
  std::string detail = "none";
  if (limit.cgroup != 0) {
    detail = base::bytes_text(limit.cgroup) + " in " + limit.cgroup_source;
    if (limit.cgroup_used != 0) detail += ", " + base::bytes_text(limit.cgroup_used) + " used";
    if (!limits) detail += ", more than the machine has";
  }
  add(caps, "cgroup_memory_limit", limits ? CapabilityState::limited : CapabilityState::available, std::move(detail),
      "a budget beyond the limit gets the process killed when guests use it; HostOptions::memory = 0 stays below it",
      "raise memory.max and memory.high (version 1: memory.limit_in_bytes) of the group and of its ancestors");
}

}  // namespace

void probe_machine(Capabilities& caps) {
  add_nodes(caps);
  add_numa_balancing(caps);
  add_cgroup_limit(caps);
}

}  // namespace vmm::os::probing
