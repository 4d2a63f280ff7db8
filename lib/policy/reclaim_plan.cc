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

// What may still be taken: neither parked, nor on its way out, nor protected.
std::uint64_t takeable(const ReclaimGuest& g) noexcept {
  return above(above(g.resident, g.staged), g.protected_pages);
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
    excess += takeable(g);
    parked += g.parked;
  }
  // Who waits although memory is free waits for its own limit, which others need not pay for.
  const bool starving = s.starving && free < high;
  plan.memory_short = free < low || (s.under_way && free < high) || starving;
  const auto need = plan.memory_short ? std::max<std::uint64_t>(above(high, free), starving ? 64 : 0) : 0;
  const auto to_write = above(need, s.in_flight);
  // A little is parked ahead, so that there are runs whose grace has passed when they are needed.
  const bool near = free < high + high / 4;
  const auto want_parked = near ? 2 * need + s.budget / 64 : 0;
  const auto to_park = above(want_parked, parked);

  if (starving || free * 2 <= low) {
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
    const auto own = takeable(g);
    step.park = std::min(part(to_park, own, excess), own);
    step.write = part(to_write, g.parked + step.park, parked + to_park);
    if (g.limit != 0) {
      // A margin, so that a guest at its limit finds memory without waiting. It gives pages up for others of its own,
      // so neither its reservation nor its pins (which nobody takes) keep it from that: it would wait for ever.
      const auto room = above(g.limit, g.protected_pages);
      const auto margin = std::max<std::uint64_t>(std::min(std::max<std::uint64_t>(g.limit / 64, 16), room), 16);
      const auto leaving = above(g.staged, g.parked);
      const auto over = above(above(g.resident, leaving), above(g.limit, margin));
      if (over > 0) {
        step.over_limit = true;
        step.park = std::max(step.park, above(over, g.parked));
        step.write = std::max(step.write, over);
      }
    }
    plan.needed |= step.write > 0;
  }
  plan.needed |= plan.memory_short;
  return plan;
}

}  // namespace vmm::policy
