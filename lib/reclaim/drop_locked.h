// drop_locked: the bytes of pages go, wherever they are: in place, in staging, in a slot of the swap file. What a
// discard and the balloon have in common.
// Thread-safety: any thread but a fault thread, which holds the locks of the pages. For those that show frames it waits
// until the guest's fault thread has read that their mapping is gone.
#pragma once

#include <cstdint>

#include "region/guest_memory.h"

namespace vmm::reclaim {

struct Dropped {
  std::uint64_t pages = 0;  // so many were dropped; the next one failed, if error is not 0
  std::uint64_t freed = 0;  // of these were in memory, whose credit has been given back
  int error = 0;            // errno of madvise
};

// words[i] is the word of page first + i of a managed guest; count <= kMostTaken. Those of the pages that were dropped are `becomes` then,
// and not yet unlocked. Staged bytes that a device is reading are left to the end of the write.
Dropped drop_locked(region::GuestMemory& guest, std::uint64_t first, std::uint64_t count, region::PageWord* words,
                    region::PageState becomes) noexcept;

}  // namespace vmm::reclaim
