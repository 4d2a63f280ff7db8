// On which NUMA nodes pages are, and moving them to another: move_pages(2).
// Thread-safety: any thread. Nothing is allocated; costs about 0.4 us a page asked, and 1 to 3 us a page moved.
#pragma once

#include <cstddef>

namespace vmm::os {

inline constexpr std::size_t kMostPagesAsked = 512;

// What the kernel has not told of a page: it leaves some unwritten.
inline constexpr int kUntold = -(1 << 20);

// nodes[i]: the node of the page at pages[i], or a negative errno. -ENOENT (on 6.1 -EFAULT) is a page that is not
// there; but with NUMA balancing on, the kernel may answer so for pages that are. count: at most kMostPagesAsked. Returns an
// errno, 0 = done.
int nodes_of_pages(void* const* pages, std::size_t count, int* nodes) noexcept;

// Moves pages to `node`; of a huge page any one stands for all of it. Neither what this returns nor status tells
// what has moved (a full node: ENOMEM, nothing written, and many moved; a page that a device holds: 0, nothing
// written): nodes_of_pages() does. They tell why a page did not: status[i] is a node, a negative errno or kUntold.
// Returns an errno; EAGAIN where the kernel says no more than that some have not moved.
int move_pages_to(void* const* pages, std::size_t count, int node, int* status) noexcept;

}  // namespace vmm::os
