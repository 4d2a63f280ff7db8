// Mending: small pages that were a huge page once, or could be one, are made one again while memory is plentiful.
// Thread-safety: the worker of the guest's node, who is the one to take pages, so that none leaves meanwhile.
#pragma once

#include <cstdint>

namespace vmm::region {

class GuestMemory;

// Makes the 512 pages from `first` on (a multiple of 512) a huge page if all of them are resident small pages that
// nobody has pinned. Takes 0.3-6 ms. Pages whose slots were kept count as written from then on: the kernel makes
// no huge page of write-protected ones. Returns whether it is one now that was none before.
bool mend_huge_page(GuestMemory& guest, std::uint64_t first) noexcept;

}  // namespace vmm::region
