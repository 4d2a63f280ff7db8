// drop_leftovers: frees the staged originals of pages that a fault thread has given back by copying.
// Thread-safety: the worker of the guest's node; waits for the locks of the pages.
#pragma once

#include "region/guest_memory.h"

namespace vmm::reclaim {

// What the kernel refuses to drop stays marked, so that its place in staging is not used again.
void drop_leftovers(region::GuestMemory& guest) noexcept;

}  // namespace vmm::reclaim
