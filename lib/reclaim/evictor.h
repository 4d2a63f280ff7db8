// Evictor: chooses which pages of one guest leave memory: a clock with second chance, over small pages in runs of 64, and
// over huge pages as a whole. Cool pages are parked in staging; what is touched there during its grace period is rescued
// without I/O and made warm, as is what is read back; the rest is handed to SwapOut.
// Thread-safety: one worker thread.
#pragma once

#include <cstdint>
#include <deque>

#include "base/clock.h"
#include "reclaim/swap_out.h"
#include "region/guest_memory.h"
#include "region/notice.h"

namespace vmm::reclaim {

class Evictor {
 public:
  // Throws std::bad_alloc.
  Evictor(region::GuestMemory& guest, region::Notices& notices) : guest_(guest), notices_(notices) {}

  region::GuestMemory& guest() const noexcept { return guest_; }

  // Parks about `pages` pages (whole runs) and never more than `most`, for what is reserved stays; looks at no more
  // than one round of the clock, or at `looks` runs. Returns how many were parked.
  std::uint64_t park(std::uint64_t pages, std::uint64_t looks, base::Nanos now, std::uint64_t most = ~std::uint64_t{0});

  // Where pages stayed in staging after their write, the list of what is parked is made anew, without what is watched:
  // true then, and Sampler::hand_on_again() is to follow. Cheap where none did.
  bool find_stranded(base::Nanos now);

  // Pages of [first, first + count), `parked` of them, that somebody else has parked at `since`: they are written when
  // their time comes, as if they had been parked here. To be in the list twice does no harm.
  void adopt(std::uint64_t first, std::uint32_t count, std::uint32_t parked, base::Nanos since);

  // Hands runs parked before `until` to `out`, oldest first, about `pages` of them. Returns how many pages.
  std::uint64_t write(std::uint64_t pages, base::Nanos until, base::Nanos now, SwapOut& out,
                      policy::ReclaimReason reason = policy::ReclaimReason::asked);

  // Pages that were parked and not yet handed on; rescued ones may still be counted.
  std::uint64_t parked() const noexcept { return parked_pages_; }

 private:
  struct Parked {
    std::uint64_t first;
    std::uint32_t count;
    std::uint32_t taken;  // pages of it that were parked
    base::Nanos since;
  };
  std::uint64_t park_range(std::uint64_t first, std::uint64_t count, const std::uint8_t* bits, std::uint64_t most,
                           base::Nanos now);
  std::uint64_t take(std::uint64_t first, std::uint64_t count, const std::uint8_t* bits, std::uint64_t most);

  region::GuestMemory& guest_;
  region::Notices& notices_;
  std::uint64_t hand_ = 0;  // page, a multiple of kRunPages
  std::deque<Parked> parked_;
  std::uint64_t parked_pages_ = 0;
  bool refused_ = false;  // the kernel refuses to move the guest's pages; said once
};

}  // namespace vmm::reclaim
