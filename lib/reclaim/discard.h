// Discard: the contents of a range are given up in whatever state each page is: it reads as zero from then on.
// Thread-safety: any thread but a fault thread.
#pragma once

#include <cstdint>

#include "region/pins.h"
#include "vmm/result.h"

namespace vmm::reclaim {

// Blocks while pages of the range are being read. Errors: Errc::pages_pinned (nothing was discarded); an errno of
// madvise: the pages before the failing ones are discarded, the others are as they were.
Result<void> discard(region::GuestMemory& guest, region::Pins& pins, std::uint64_t first, std::uint64_t pages);

}  // namespace vmm::reclaim
