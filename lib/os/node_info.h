// What the kernel says about NUMA nodes at this moment (/sys/devices/system/node, /proc/self/status).
// Thread-safety: every function may be called from any thread; they allocate and read files.
#pragma once

#include <cstdint>
#include <vector>

#include "vmm/result.h"

namespace vmm::os {

// Memory of node `node` that nobody uses, in bytes.
// Errors: ENODEV (no such node, or it went away), EBADMSG (unknown format), any errno of reading.
Result<std::uint64_t> node_free_bytes(int node);

// Online processors of the node, ascending; empty for a memory-only node. Errors: as node_free_bytes().
Result<std::vector<int>> node_cpus(int node);

// Nodes this process may take memory from, ascending. Errors: EBADMSG, any errno of reading.
Result<std::vector<int>> allowed_nodes();

// Memory of the machine, in bytes. Errors: EBADMSG, any errno of reading.
Result<std::uint64_t> machine_memory();

}  // namespace vmm::os
