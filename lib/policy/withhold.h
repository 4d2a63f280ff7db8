// Withholding: how much of the budget cannot be had because the process's control group is nearly full - its limit was
// lowered, or others in it have grown. Reclaiming to make room comes before the kernel's killing.
// Thread-safety: pure.
#pragma once

#include <algorithm>
#include <cstdint>

namespace vmm::policy {

// Bytes.
struct GroupRoom {
  std::uint64_t limit = 0;     // of the control group; 0 = none
  std::uint64_t used = 0;      // charged to it, without file cache that the kernel drops by itself
  double min_free = 0.06;      // half this share of the limit is kept free
  std::uint64_t consumed = 0;  // by guests, of the budget
  std::uint64_t hollow = 0;    // part of it that is no memory yet but becomes some unasked: zero pages, by a write
  std::uint64_t budget = 0;
};

// What to withhold: guests may grow only into the room that the group has beyond what is kept free, and shrink where
// it has less.
constexpr std::uint64_t plan_withheld(const GroupRoom& r) noexcept {
  if (r.limit == 0) return 0;
  const auto keep = static_cast<std::uint64_t>(r.min_free * static_cast<double>(r.limit)) / 2;
  const auto room = r.used < r.limit ? r.limit - r.used : 0;
  const auto most = r.consumed + room;
  const auto not_for_growth = keep + r.hollow;
  const auto usable = most > not_for_growth ? most - not_for_growth : 0;
  return usable < r.budget ? r.budget - usable : 0;
}

}  // namespace vmm::policy
