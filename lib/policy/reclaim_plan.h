// Reclaim plan: how much to park and to write, of which guest, to bring the host's free memory back above its
// threshold, and guests back below their limits.
//
// Half the memory below the threshold may still be used while the plan works, so second chances shrink with it:
// at the threshold a parked run has kGrace to be touched, at half of it none. Guests are taken from in proportion
// to what they hold above their reservation.
// Thread-safety: pure functions of their arguments.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace vmm::policy {

// Pages, of 4 KiB.
struct ReclaimGuest {
  std::uint64_t resident = 0;     // staging included
  std::uint64_t parked = 0;       // part of resident that waits in staging
  std::uint64_t protected_pages = 0;  // reservation or pinned, whichever is more
  std::uint64_t limit = 0;        // 0 = none
  bool reclaimable = true;        // managed, with a swap file that takes writes
  std::uint64_t staged = 0;       // part of resident that is in staging: parked, or being written
                                  // (parked may be more: it still counts pages that were rescued)
};

struct ReclaimSnapshot {
  std::uint64_t budget = 0;
  std::uint64_t consumed = 0;
  std::uint64_t in_flight = 0;    // pages whose writes will free them
  double min_free = 0.06;
  bool starving = false;          // a fault waits for memory
  bool under_way = false;         // the last plan was to reclaim: go on to the upper mark
  std::vector<ReclaimGuest> guests;
};

struct ReclaimStep {
  std::uint64_t park = 0;   // pages to park
  std::uint64_t write = 0;  // parked pages to write
  bool over_limit = false;  // of this guest: write at once
};

struct ReclaimPlan {
  bool needed = false;                     // free memory is short, or a guest is over its limit
  bool memory_short = false;               // the former
  std::chrono::nanoseconds grace{};        // parked runs older than this are written
  std::vector<ReclaimStep> steps;          // one per guest, in the snapshot's order
};

inline constexpr std::chrono::milliseconds kGrace{200};

ReclaimPlan plan_reclaim(const ReclaimSnapshot& snapshot);

}  // namespace vmm::policy
