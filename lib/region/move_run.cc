#include "region/move_run.h"

#include <algorithm>
#include <array>

#include "vmm/units.h"

namespace vmm::region {
namespace {

constexpr std::uint64_t kMost = kHugePageSize / kPageSize;
using Bits = std::array<std::uint8_t, kMost>;

// From whichever source answers. False: unknown.
bool look(const os::Pagemap& pagemap, const std::byte* start, std::uint64_t pages, Bits& bits) noexcept {
  for (int tries = 0; tries < 64; ++tries)
    if (pagemap.bits_from_pagemap(start, pages, bits.data()) == 0 || pagemap.bits(start, pages, bits.data()) == 0)
      return true;
  return false;
}

// How many of the pages from the first on are at `to` and no longer at `from`. What is in both was not moved:
// mlockall fills staging by itself.
std::uint64_t arrived(const os::Pagemap& pagemap, const std::byte* to, const std::byte* from,
                      std::uint64_t pages) noexcept {
  const auto here = [](std::uint8_t b) { return (b & (os::kPresent | os::kSwapped)) != 0; };
  Bits there, left;
  // One page first: mostly it is the answer, since the error was a true one.
  std::uint64_t count = 0;
  for (const auto end : {std::uint64_t{1}, std::min(pages, kMost)}) {
    if (!look(pagemap, to, end, there) || !look(pagemap, from, end, left)) return count;
    while (count < end && here(there[count]) && !here(left[count])) ++count;
    if (count < end) break;
  }
  return count;
}

}  // namespace

os::Progress move_run(const os::Userfaultfd& uffd, const os::Pagemap& pagemap, std::byte* to, std::byte* from,
                      std::uint64_t bytes) noexcept {
  std::uint64_t done = 0;
  for (;;) {
    const auto moved = uffd.move(to + done, from + done, bytes - done);
    done += moved.bytes;
    if (moved.error == 0) return {done, 0};
    const auto unsaid = arrived(pagemap, to + done, from + done, (bytes - done) / kPageSize) * kPageSize;
    if (unsaid == 0) return {done, moved.error};
    // The kernel wakes for what it has counted only. A wake-up that fails is repeated: nobody else would.
    for (int tries = 0; uffd.wake(to + done, unsaid) != 0 && tries < 16; ++tries) continue;
    done += unsaid;
    if (done == bytes) return {done, 0};
  }
}

}  // namespace vmm::region
