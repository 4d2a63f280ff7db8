// The parts of vmm::probe(), one function per subject; each appends its items to the capabilities.
// Thread-safety: any thread; what a part opens or maps is gone when it returns.
#pragma once

#include <string>
#include <utility>

#include "vmm/capabilities.h"
#include "vmm/result.h"

namespace vmm::os::probing {

// userfaultfd, uffd_write_protect, uffdio_move, wp_async, poison.
void probe_userfaultfd(Capabilities& caps);
// pagemap_scan, mbind, transparent_huge_pages, ksm, kernel_swap, vm_overcommit.
void probe_memory(Capabilities& caps);
// nodes, numa_balancing, cgroup_memory_limit; figures nodes, cgroup_limit, machine_memory.
void probe_machine(Capabilities& caps);
// max_map_count, rlimit_nofile, rlimit_fsize, rlimit_memlock, rlimit_as; figures max_map_count, maps_in_use.
void probe_limits(Capabilities& caps);
// io_uring, swap_directory, o_tmpfile, o_direct; figure swap_space_free.
void probe_storage(Capabilities& caps, const std::string& swap_directory);

inline void add(Capabilities& caps, const char* name, CapabilityState state, std::string detail,
                std::string consequence, std::string remedy) {
  caps.items.push_back({name, state, std::move(detail), std::move(consequence), std::move(remedy)});
}

// The text of an errno.
std::string errno_text(int number);
// "name: text of the errno", for the detail of an item that could not be looked at.
std::string failure_text(const Error& error);

// The text of a file without its final newline; empty if it cannot be read.
std::string read_line(const std::string& path);

}  // namespace vmm::os::probing
