// Reclaim plan: how much to take of which guest, and how, so that the host's free memory comes back above its mark and
// guests and pools below their limits.
//
// What is missing is taken by min-funding revocation (policy/targets.h): from those who pay least for what they hold.
// By balloon where a guest has one that answers; otherwise, and in the states hard and low of everybody, by swap. Swap
// parks pages first: half of what is kept free may be used while it works, so second chances shrink with it: at the mark
// a parked run has kGrace to be touched, at half of it none.
// Thread-safety: pure functions of their arguments. O(n log n) in guests.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "policy/memory_state.h"
#include "policy/targets.h"

namespace vmm::policy {

// Pages, of 4 KiB.
struct ReclaimGuest {
  TargetGuest claim;            // its consumed is filled in by the plan
  std::uint64_t resident = 0;   // staging included
  std::uint64_t staged = 0;     // part of resident that is in staging: parked, or being written
  std::uint64_t parked = 0;     // part of that which waits (may be more: it still counts pages that were rescued)
  std::uint64_t pinned = 0;
  bool swappable = true;        // managed, with a swap file that takes writes
  bool balloon = false;         // a driver that can be asked, now or when it has answered
  std::uint64_t ballooned = 0;
  std::uint64_t balloon_max = 0;
  std::uint64_t inflating = 0;  // asked of the driver and not answered yet
};

struct ReclaimSnapshot {
  std::uint64_t budget = 0;
  std::uint64_t free = 0;
  StateMarks marks;
  MemoryState state = MemoryState::high;
  bool starving = false;           // a fault waits for memory
  std::vector<TargetPool> pools;   // at least the root
  std::vector<ReclaimGuest> guests;
};

enum class ReclaimReason : std::uint8_t { pressure, limit, pool_limit, asked };

struct ReclaimStep {
  std::uint64_t inflate = 0;  // pages to ask of the balloon driver
  std::uint64_t park = 0;     // pages to park
  std::uint64_t write = 0;    // parked pages to write
  ReclaimReason reason = ReclaimReason::pressure;  // for limits: written at once, without grace
};

struct ReclaimPlan {
  bool needed = false;               // free memory is short, or a limit is exceeded
  bool memory_short = false;         // the former
  std::chrono::nanoseconds grace{};  // parked runs older than this are written
  std::vector<ReclaimStep> steps;    // one per guest, in the snapshot's order
};

inline constexpr std::chrono::milliseconds kGrace{200};

ReclaimPlan plan_reclaim(const ReclaimSnapshot& snapshot);

// Pages that balloons may get back now: a part of what is free beyond twice the mark, in the snapshot's order. For one
// call a balance period, so that it goes slowly.
std::vector<std::uint64_t> plan_deflate(const ReclaimSnapshot& snapshot);

}  // namespace vmm::policy
