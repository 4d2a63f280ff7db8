#include "policy/reclaim_plan.h"

#include <algorithm>

namespace vmm::policy {
namespace {

std::uint64_t above(std::uint64_t a, std::uint64_t b) noexcept { return a > b ? a - b : 0; }

// Part of `total` that falls to `weight` of `weights`, rounded up.
std::uint64_t part(std::uint64_t total, std::uint64_t weight, std::uint64_t weights) noexcept {
  if (weights == 0) return 0;
  const auto exact = static_cast<unsigned __int128>(total) * weight + weights - 1;
  return static_cast<std::uint64_t>(exact / weights);
}

}  // namespace

ReclaimPlan plan_reclaim(const ReclaimSnapshot& s) {
  ReclaimPlan plan;
  plan.steps.resize(s.guests.size());
  const auto low = static_cast<std::uint64_t>(s.min_free * static_cast<double>(s.budget));
  const auto high = low + low / 16 + 64;
  const auto free = above(s.budget, s.consumed);

  std::uint64_t excess = 0, parked = 0;
  for (const auto& g : s.guests) {
    if (!g.reclaimable) continue;
    excess += above(g.resident - std::min(g.parked, g.resident), g.protected_pages);
    parked += g.parked;
  }
  const bool short_of_memory = free < low || (s.under_way && free < high) || s.starving;
  const auto need = short_of_memory ? std::max<std::uint64_t>(above(high, free), s.starving ? 64 : 0) : 0;
  const auto to_write = above(need, s.in_flight);
  // A little is parked ahead, so that there are runs whose grace has passed when they are needed.
  const bool near = free < high + high / 4;
  const auto want_parked = near ? 2 * need + s.budget / 64 : 0;
  const auto to_park = above(want_parked, parked);

  if (s.starving || free * 2 <= low) {
    plan.grace = std::chrono::nanoseconds(0);
  } else if (free >= low) {
    plan.grace = kGrace;
  } else {
    const double fraction = 2.0 * static_cast<double>(free) / static_cast<double>(low) - 1.0;
    plan.grace = std::chrono::duration_cast<std::chrono::nanoseconds>(kGrace * fraction);
  }

  for (std::size_t i = 0; i < s.guests.size(); ++i) {
    const auto& g = s.guests[i];
    auto& step = plan.steps[i];
    if (!g.reclaimable) continue;
    const auto own = above(g.resident - std::min(g.parked, g.resident), g.protected_pages);
    step.park = std::min(part(to_park, own, excess), own);
    step.write = part(to_write, g.parked + step.park, parked + to_park);
    if (g.limit != 0) {
      // A margin, so that a guest at its limit finds memory without waiting.
      const auto margin = std::min<std::uint64_t>(std::max<std::uint64_t>(g.limit / 64, 16), g.limit);
      const auto over = std::min(above(g.resident, g.limit - margin), above(g.resident, g.protected_pages));
      if (over > 0) {
        step.over_limit = true;
        step.park = std::max(step.park, above(over, g.parked));
        step.write = std::max(step.write, over);
      }
    }
    plan.needed |= step.write > 0;
  }
  plan.needed |= short_of_memory;
  return plan;
}

}  // namespace vmm::policy
