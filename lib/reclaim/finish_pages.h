// finish_pages: ends the time that pages spend in staging to be written. Those still isolated leave memory, or, if
// they could not be written, go back into the guest; of those that were rescued or discarded meanwhile only the
// staged copy goes.
// Thread-safety: the worker of the guest's node.
#pragma once

#include <array>
#include <cstdint>

#include "region/guest_memory.h"
#include "region/isolator.h"

namespace vmm::reclaim {

enum class PageEnd : std::uint8_t {
  kept,     // the slot it has still holds its bytes
  dropped,  // all zero: it needs none
  written,  // into a new slot
  failed,   // nowhere
};

// Of pages that follow each other.
struct PageEnds {
  std::array<PageEnd, region::kMostTaken> end;
  std::array<std::uint64_t, region::kMostTaken> slot;  // where end == written
};

// [first, first + count) are writing; count <= kMostTaken. `reason`: what for; counted.
void finish_pages(region::GuestMemory& guest, std::uint64_t first, std::uint32_t count, const PageEnds& ends,
                  policy::ReclaimReason reason);

}  // namespace vmm::reclaim
