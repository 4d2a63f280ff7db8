// take_pages: takes neighbouring pages out of a guest into staging and tells the page table so.
// Thread-safety: the worker of the guest's node.
#pragma once

#include <cstdint>

#include "region/guest_memory.h"

namespace vmm::reclaim {

struct TakenPages {
  std::uint64_t pages = 0;
  int error = 0;  // an errno, as of Isolator::take
};

// Takes those of [first, first + count) that the kernel gives, count <= kMostTaken. They are resident and not being
// written, their words `words` locked by the caller, their bits of the pagemap `bits`. Unlocks all of them: isolated
// and watched as `watch` says where they were taken, unchanged where not.
TakenPages take_pages(region::GuestMemory& guest, std::uint64_t first, std::uint64_t count, const std::uint8_t* bits,
                      const region::PageWord* words, region::Watch watch = region::Watch::none);

}  // namespace vmm::reclaim
