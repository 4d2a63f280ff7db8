// What a balloon does to pages. give(): their bytes are dropped wherever they are, and the guest is smaller by them
// until it touches them again. take_back(): they are empty pages like others.
// Thread-safety: any thread but a fault thread; both wait for page locks, but for none that is held across I/O.
#pragma once

#include <bitset>
#include <cstdint>

#include "region/guest_memory.h"

namespace vmm::reclaim {

inline constexpr std::uint64_t kMostGiven = 512;  // in one call: a huge page

struct Given {
  std::bitset<kMostGiven> accepted;  // these pages of the call are ballooned now
  std::bitset<kMostGiven> already;   // and these were before
  std::uint64_t freed = 0;           // of the accepted, so many were in memory, and their credit has come back
  std::uint64_t refused = 0;         // all but the accepted; counted in balloon_refused
};

// Gives up pages of [first, first + count), count <= kMostGiven, at most `most` of them. Refused are pages that are
// pinned, lost, ballooned already, being read from the swap file (somebody wants them), or that the kernel does not
// drop; and all of them in a guest that is not managed, where nobody would see the touch.
// A write that races with the call survives or not, as with discard().
Given give(region::GuestMemory& guest, std::uint64_t first, std::uint64_t count, std::uint64_t most) noexcept
    VMM_EXCLUDES(guest.control);

struct PageStretch {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

// Takes the first stretch of ballooned pages of [first, first + count) back, at most kMostGiven of them, and tells
// which it was: they are empty now. count 0: there is none.
PageStretch take_back(region::GuestMemory& guest, std::uint64_t first, std::uint64_t count) noexcept;

}  // namespace vmm::reclaim
