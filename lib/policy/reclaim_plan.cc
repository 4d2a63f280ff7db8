#include "policy/reclaim_plan.h"

#include <algorithm>

#include "base/above.h"

namespace vmm::policy {
namespace {

using base::above;
using Pages = std::vector<std::uint64_t>;

// A margin, so that a guest at its limit finds memory without waiting. It gives pages up for others of its own, so
// neither its reservation nor its pins (which nobody takes) keep it from that: it would wait for ever.
std::uint64_t kept_below(std::uint64_t limit, std::uint64_t protected_pages) noexcept {
  const auto room = above(limit, protected_pages);
  return std::max<std::uint64_t>(std::min(std::max<std::uint64_t>(limit / 256, 16), room), 16);
}

std::uint64_t least_of(const ReclaimGuest& g) noexcept { return std::max(g.claim.reservation, g.pinned); }
std::uint64_t leaving(const ReclaimGuest& g) noexcept { return above(g.staged, g.parked); }

// Calls visit(pool) for the guest's pool and each above it, the root last.
template <typename Visit>
void up_from(const std::vector<TargetPool>& pools, std::size_t pool, Visit visit) {
  for (;; pool = pools[pool].parent) {
    visit(pool);
    if (pool == 0) return;
  }
}

// A pool that is reserved up to its limit exchanges pages within it, as a guest does: the margin comes out of what its
// guests have reserved and not pinned.
void leave_margins(TargetSnapshot& t, const ReclaimSnapshot& s) {
  Pages least(t.pools.size());
  std::vector<std::vector<std::size_t>> inside(t.pools.size());  // guests, where there is a limit
  for (std::size_t i = 0; i < t.guests.size(); ++i) {
    const auto& g = t.guests[i];
    up_from(t.pools, g.pool, [&](std::size_t p) {
      least[p] += std::min(g.consumed, g.reservation + g.overhead);
      if (p != 0 && t.pools[p].limit != 0) inside[p].push_back(i);
    });
  }
  for (std::size_t p = 1; p < t.pools.size(); ++p)
    for (const auto i : inside[p]) {
      if (least[p] <= t.pools[p].limit) break;
      auto& g = t.guests[i];
      const bool movable = s.guests[i].swappable || s.guests[i].balloon;
      if (!movable || g.reservation + g.overhead > g.consumed) continue;
      const auto given = std::min(above(g.reservation, s.guests[i].pinned), least[p] - t.pools[p].limit);
      g.reservation -= given;
      up_from(t.pools, g.pool, [&](std::size_t q) { least[q] -= given; });
    }
}

// The claims as targets are planned from: what is on its way out has left.
TargetSnapshot claims_of(const ReclaimSnapshot& s, bool trust_balloons) {
  TargetSnapshot t;
  t.pools = s.pools;
  for (auto& p : t.pools)
    if (p.limit != 0) p.limit = above(p.limit, kept_below(p.limit, 0));
  t.guests.reserve(s.guests.size());
  for (const auto& g : s.guests) {
    auto claim = g.claim;
    const auto held = above(g.resident, leaving(g) + (trust_balloons ? g.inflating : 0));
    claim.consumed = held + claim.overhead;
    claim.wanted = 0;
    claim.reservation = g.swappable || g.balloon ? least_of(g) : held;
    if (claim.limit != 0) {
      const auto most = above(claim.limit, kept_below(claim.limit, least_of(g)));
      claim.limit = g.swappable || g.balloon ? std::max<std::uint64_t>(most, 1) : 0;
    }
    t.memory += claim.consumed;
    t.guests.push_back(claim);
  }
  leave_margins(t, s);
  return t;
}

// What each is to give so that `missing` pages are free, or nobody is above a limit.
Pages takes(TargetSnapshot& claims, std::uint64_t total, std::uint64_t missing) {
  claims.memory = above(total, missing);
  auto pages = plan_targets(claims).pages;
  for (std::size_t i = 0; i < pages.size(); ++i) pages[i] = above(claims.guests[i].consumed, pages[i]);
  return pages;
}

bool any_limit(const ReclaimSnapshot& s) {
  return std::any_of(s.guests.begin(), s.guests.end(), [](const auto& g) { return g.claim.limit != 0; }) ||
         std::any_of(s.pools.begin(), s.pools.end(), [](const auto& p) { return p.limit != 0; });
}

std::chrono::nanoseconds grace_of(const ReclaimSnapshot& s, bool starving) {
  const auto mark = s.marks.high;
  if (starving || s.free * 2 <= mark) return std::chrono::nanoseconds(0);
  if (s.free >= mark) return kGrace;
  const double fraction = 2.0 * static_cast<double>(s.free) / static_cast<double>(mark) - 1.0;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(kGrace * fraction);
}

// Pages that the guests inside each pool may still take; without a limit, of itself, any number.
Pages rooms_of(const ReclaimSnapshot& s) {
  Pages held(s.pools.size()), room(s.pools.size(), ~std::uint64_t{0});
  for (const auto& g : s.guests)
    up_from(s.pools, g.claim.pool, [&](std::size_t p) { held[p] += g.resident + g.claim.overhead; });
  for (std::size_t p = 0; p < room.size(); ++p)
    if (s.pools[p].limit != 0) room[p] = above(s.pools[p].limit, held[p]);
  return room;
}

}  // namespace

ReclaimPlan plan_reclaim(const ReclaimSnapshot& s) {
  ReclaimPlan plan;
  plan.steps.resize(s.guests.size());
  const bool urgent = s.state >= MemoryState::hard;
  const auto enough = return_mark(s.marks.high);
  // Who waits although memory is free waits for its own limit, which others need not pay for.
  const bool starving = s.starving && s.free < enough;
  plan.memory_short = s.state != MemoryState::high || starving;
  plan.grace = grace_of(s, starving);
  plan.needed = plan.memory_short;

  auto claims = claims_of(s, !urgent);
  const auto total = claims.memory;
  std::uint64_t coming = 0;  // being written, or asked of balloons
  for (const auto& g : s.guests) coming += leaving(g) + (urgent ? 0 : g.inflating);
  const auto wanted = plan.memory_short ? std::max<std::uint64_t>(above(enough, s.free), starving ? 64 : 0) : 0;
  const auto missing = above(wanted, coming);
  const bool near = s.free < enough + enough / 4;
  // A little is parked ahead, so that there are runs whose grace has passed when they are needed.
  const auto to_park = near ? 2 * wanted + s.budget / 64 : 0;
  const auto ahead = above(above(ahead_mark(s.marks), s.free), coming);

  const auto none = Pages(s.guests.size());
  const auto over = any_limit(s) ? takes(claims, total, 0) : none;
  const auto take = missing > 0 ? takes(claims, total, missing) : over;
  const auto take_ahead = ahead > missing ? takes(claims, total, ahead) : take;
  const auto cold = to_park > 0 ? takes(claims, total, missing + to_park) : take;

  for (std::size_t i = 0; i < s.guests.size(); ++i) {
    const auto& g = s.guests[i];
    auto& step = plan.steps[i];
    if (over[i] > 0) {
      const auto guest_limit = claims.guests[i].limit;
      const bool own = guest_limit != 0 && claims.guests[i].consumed > guest_limit + g.claim.overhead;
      step.reason = own ? ReclaimReason::limit : ReclaimReason::pool_limit;
    }
    auto swap = take[i];
    const auto room = g.balloon ? above(g.balloon_max, g.ballooned + g.inflating) : 0;
    if (room > 0) {
      // Not for a page or two: a driver gives in pieces of its own, and is judged by what it was asked for.
      const auto least = std::min(s.budget / 128, above(g.resident, g.staged + least_of(g)));
      step.inflate = take_ahead[i] > 0 ? std::min(std::max(take_ahead[i], least), room) : 0;
      // Not where it cannot wait: memory is very short, or the guest itself waits below its limit.
      const bool waits = urgent || starving || (over[i] > 0 && s.starving);
      if (!waits) swap = above(swap, step.inflate);
    }
    // A guest whose balloon gives what is wanted need not be disturbed by parking.
    const bool by_swap = g.swappable && (swap > 0 || room == 0);
    if (by_swap) {
      const auto held = above(g.resident, g.staged);
      const auto takeable = over[i] > 0 ? held : above(held, least_of(g));
      step.park = std::min(above(std::max(cold[i], swap), g.parked), takeable);
      step.write = std::min(swap, g.parked + step.park);
    }
    plan.needed |= step.write > 0 || over[i] > 0;
  }
  return plan;
}

std::vector<std::uint64_t> plan_deflate(const ReclaimSnapshot& s) {
  Pages pages(s.guests.size());
  const auto plenty = std::max(2 * return_mark(s.marks.high), s.budget / 8);
  if (s.state != MemoryState::high || s.free <= plenty) return pages;
  std::uint64_t ballooned = 0;
  for (const auto& g : s.guests) ballooned += g.ballooned;
  if (ballooned == 0) return pages;
  const auto most = (s.free - plenty) / 2;
  auto room = rooms_of(s);
  for (std::size_t i = 0; i < pages.size(); ++i) {
    const auto& g = s.guests[i];
    // A quarter of what is there, and the rest of what is little.
    const auto some = std::max<std::uint64_t>(g.ballooned / 4, std::min<std::uint64_t>(g.ballooned, 1024));
    const auto share = static_cast<double>(g.ballooned) / static_cast<double>(ballooned);
    pages[i] = std::min(some, static_cast<std::uint64_t>(static_cast<double>(most) * share));
    // What it could not use without being asked for as much again stays.
    if (g.claim.limit != 0) pages[i] = std::min(pages[i], above(g.claim.limit, g.resident));
    up_from(s.pools, g.claim.pool, [&](std::size_t p) { pages[i] = std::min(pages[i], room[p]); });
    up_from(s.pools, g.claim.pool, [&](std::size_t p) { room[p] -= pages[i]; });
  }
  return pages;
}

}  // namespace vmm::policy
