// resident_count: how many pages of a guest's place the kernel holds memory for. About 7 ms a GiB of small pages.
// Thread-safety: any thread that holds a pass of the guest's gate; allocates nothing.
#pragma once

#include <cstdint>

#include "region/guest_memory.h"

namespace vmm::host {

// Pages in memory or in the kernel's swap, without zero pages. All of the guest's where the kernel does not say.
std::uint64_t resident_count(const region::GuestMemory& guest) noexcept;

// Who counts again and again rests this many times as long as a count took: 1 % of the time.
inline constexpr int kRestAfterCount = 100;

}  // namespace vmm::host
