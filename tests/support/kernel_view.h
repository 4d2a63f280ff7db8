// The kernel's own view of this process's memory, to be held against the library's figures.
// Thread-safety: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace vmm::test {

// Pages of the range that are in memory, by mincore(2).
std::uint64_t resident_pages(const std::byte* start, std::uint64_t pages);
// Sum of a field of /proc/self/smaps ("Rss", "AnonHugePages", ...) over the mappings inside the range, in bytes.
std::uint64_t smaps_bytes(const std::byte* start, std::uint64_t bytes, const std::string& field);
// VmFlags of the mapping that begins at `start`, as in /proc/self/smaps ("rd wr mr ...").
std::string smaps_flags(const std::byte* start);
// Mappings inside the range.
std::size_t mappings_in(const std::byte* start, std::uint64_t bytes);
// Memory policy of each mapping that begins inside the range, as in /proc/self/numa_maps ("default", "prefer:1", ...).
std::vector<std::string> mapping_policies(const std::byte* start, std::uint64_t bytes);
// Mappings of the whole process that are registered for missing pages with any userfaultfd.
std::size_t registered_mappings();
// Node of the page by move_pages(2), or -errno (-ENOENT: not there).
int node_of_page(const std::byte* page);
// The same of each page of the range. -ENOENT also where the kernel's NUMA balancing has hidden a resident page from
// the query: that it does only in mappings without a policy of their own.
std::vector<int> nodes_of_pages(const std::byte* start, std::uint64_t pages);
// Threads that wait in the kernel for an answer of this userfaultfd, and the features it was opened with.
std::uint64_t waiting_faults(int userfaultfd);
std::uint64_t userfaultfd_features(int userfaultfd);

}  // namespace vmm::test
