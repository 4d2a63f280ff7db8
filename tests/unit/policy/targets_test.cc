#include "policy/targets.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "vmm/units.h"

namespace vmm::policy {
namespace {

constexpr std::uint64_t kGiB = GiB / kPageSize;

TargetSnapshot host(std::uint64_t memory) {
  TargetSnapshot s;
  s.memory = memory;
  s.pools.resize(1);
  return s;
}

TargetGuest guest(std::uint64_t consumed, std::uint64_t shares, std::uint64_t reservation = 0) {
  TargetGuest g;
  g.consumed = consumed;
  g.shares = shares;
  g.reservation = reservation;
  return g;
}

double gib(std::uint64_t pages) { return static_cast<double>(pages) / kGiB; }

TEST(Targets, SharesDivideMemory) {
  auto s = host(4 * kGiB);
  s.guests = {guest(4 * kGiB, 4000), guest(2 * kGiB, 2000)};
  auto t = plan_targets(s);
  EXPECT_NEAR(gib(t.pages[0]), 2.67, 0.005);
  EXPECT_NEAR(gib(t.pages[1]), 1.33, 0.005);
  s.guests[1].reservation = 2 * kGiB;
  t = plan_targets(s);
  EXPECT_NEAR(gib(t.pages[0]), 2, 0.001);
  EXPECT_EQ(t.pages[1], 2 * kGiB);
}

TEST(Targets, IdleMemoryIsTaxed) {
  auto s = host(2 * kGiB);
  s.guests = {guest(2 * kGiB, 1000), guest(2 * kGiB, 1000)};
  s.guests[1].active = 0;
  const auto ratio = [&](double tax) {
    for (auto& g : s.guests) g.tax = tax;
    const auto t = plan_targets(s);
    return static_cast<double>(t.pages[0]) / static_cast<double>(t.pages[1]);
  };
  EXPECT_NEAR(ratio(0.75), 4, 0.001);
  EXPECT_NEAR(ratio(0), 1, 0.001);
}

TEST(Targets, WithRoomEachKeepsWhatItHasButNotMoreThanItsLimit) {
  auto s = host(8 * kGiB);
  s.guests = {guest(4 * kGiB, 1), guest(2 * kGiB, 1000)};
  s.guests[0].limit = 3 * kGiB;
  s.guests[0].overhead = 7;
  const auto t = plan_targets(s);
  EXPECT_EQ(t.pages[0], 3 * kGiB + 7);
  EXPECT_EQ(t.pages[1], 2 * kGiB);
  EXPECT_FALSE(t.overfull);
}

TEST(Targets, AReservationThatIsNotUsedIsLeftToOthers) {
  auto s = host(4 * kGiB);
  s.guests = {guest(kGiB, 1000, 3 * kGiB), guest(4 * kGiB, 1000)};
  const auto t = plan_targets(s);
  EXPECT_EQ(t.pages[0], kGiB);
  EXPECT_NEAR(gib(t.pages[1]), 3, 0.001);
}

TEST(Targets, WhatMustBeThereIsTheTargetEvenWhereItIsTooMuch) {
  auto s = host(kGiB);
  s.guests = {guest(kGiB, 1, kGiB), guest(kGiB, 1, kGiB / 2)};
  s.guests[1].overhead = 10;
  const auto t = plan_targets(s);
  EXPECT_TRUE(t.overfull);
  EXPECT_EQ(t.pages, (std::vector<std::uint64_t>{kGiB, kGiB / 2 + 10}));
}

// Pools divide memory by their own shares, whatever is in them; guests divide what their pool has got.
TEST(Targets, PoolsAreSharedOutFirst) {
  auto s = host(4 * kGiB);
  s.pools = {{}, {0, 1000}, {0, 1000}};
  s.guests = {guest(4 * kGiB, 1), guest(4 * kGiB, 100), guest(4 * kGiB, 100)};
  s.guests[0].pool = 1;
  s.guests[1].pool = s.guests[2].pool = 2;
  auto t = plan_targets(s);
  EXPECT_NEAR(gib(t.pages[0]), 2, 0.001);
  EXPECT_NEAR(gib(t.pages[1]), 1, 0.001);
  s.pools[1].limit = kGiB;
  t = plan_targets(s);
  EXPECT_NEAR(gib(t.pages[0]), 1, 0.001);
  EXPECT_NEAR(gib(t.pages[2]), 1.5, 0.001);
  s.pools[1].limit = 0;
  s.pools[2].reservation = 3 * kGiB;
  t = plan_targets(s);
  EXPECT_NEAR(gib(t.pages[0]), 1, 0.001);
  EXPECT_NEAR(gib(t.pages[2]), 1.5, 0.001);
}

TEST(Targets, NothingIsFine) {
  EXPECT_TRUE(plan_targets({}).pages.empty());
  auto s = host(0);
  EXPECT_FALSE(plan_targets(s).overfull);
  s.guests = {guest(0, 0), guest(5, 0)};
  EXPECT_EQ(plan_targets(s).pages, (std::vector<std::uint64_t>{0, 0}));
}

std::uint64_t most_of(const TargetGuest& g) {
  const auto wanted = std::max(g.consumed, g.wanted);
  return g.limit == 0 ? wanted : std::min(wanted, g.limit + g.overhead);
}

// A tree of pools whose reservations fit; with 1,000 guests, or with few pages, where each page counts.
TargetSnapshot random_tree(base::Random& random, std::uint64_t guests = 1000, std::uint64_t pages = 20'000) {
  TargetSnapshot s;
  const auto pools = 1 + random.below(std::min<std::uint64_t>(guests, 20));
  for (std::uint64_t p = 0; p < pools; ++p) {
    TargetPool pool;
    pool.parent = p == 0 ? 0 : random.below(p);
    pool.shares = 1 + random.below(10'000);
    if (p > 0 && random.below(3) == 0) pool.limit = 1 + random.below(guests * pages / 7);
    if (p > 0 && random.below(3) == 0) pool.reservation = random.below(guests * pages / 30);
    s.pools.push_back(pool);
  }
  std::uint64_t least = 0, consumed = 0;
  for (std::uint64_t i = 0; i < guests; ++i) {
    TargetGuest g;
    g.pool = random.below(pools);
    g.shares = random.below(10'000);
    g.overhead = random.below(pages / 400 + 2);
    g.consumed = g.overhead + random.below(pages);
    if (random.below(4) == 0) g.wanted = g.consumed + random.below(pages);
    if (random.below(3) == 0) g.limit = 1 + random.below(pages);
    if (random.below(2) == 0) g.reservation = random.below(g.limit != 0 ? g.limit : pages / 2);
    g.active = static_cast<double>(random.below(101)) / 100;
    g.tax = static_cast<double>(random.below(100)) / 100;
    least += std::min(most_of(g), g.reservation + g.overhead);
    consumed += g.consumed;
    s.guests.push_back(g);
  }
  for (const auto& p : s.pools) least += p.reservation;
  s.memory = least + random.below(consumed + 1000);
  return s;
}

std::uint64_t sum(const std::vector<std::uint64_t>& pages) {
  return std::accumulate(pages.begin(), pages.end(), std::uint64_t{0});
}

// Each pool has what is reserved for it, as far as its guests can use it, and no more than its limit, but for what its
// guests must have.
void expect_pools_kept(const TargetSnapshot& s, const std::vector<std::uint64_t>& pages) {
  std::vector<std::uint64_t> has(s.pools.size()), least(s.pools.size()), most(s.pools.size());
  for (std::size_t i = 0; i < s.guests.size(); ++i) {
    const auto& g = s.guests[i];
    has[g.pool] += pages[i];
    least[g.pool] += std::min(most_of(g), g.reservation + g.overhead);
    most[g.pool] += most_of(g);
  }
  for (std::size_t p = s.pools.size(); p-- > 1;) {
    const auto& pool = s.pools[p];
    if (pool.limit != 0) {
      most[p] = std::max(least[p], std::min(most[p], pool.limit));
      ASSERT_LE(has[p], most[p]);
    }
    // What the pages of pools and guests below leave over by rounding.
    const auto kept = std::clamp(pool.reservation, least[p], most[p]);
    ASSERT_GE(has[p] + s.guests.size() + s.pools.size(), kept);
    least[p] = kept;
    has[pool.parent] += has[p];
    least[pool.parent] += least[p];
    most[pool.parent] += most[p];
  }
}

TEST(Targets, HoldForRandomTrees) {
  base::Random random(5);
  for (int round = 0; round < 200; ++round) {
    const auto s = random_tree(random);
    const auto t = plan_targets(s);
    ASSERT_EQ(t.pages.size(), s.guests.size());
    ASSERT_FALSE(t.overfull);
    ASSERT_LE(sum(t.pages), s.memory);
    for (std::size_t i = 0; i < s.guests.size(); ++i) {
      const auto& g = s.guests[i];
      ASSERT_GE(t.pages[i], std::min(most_of(g), g.reservation + g.overhead));
      ASSERT_LE(t.pages[i], most_of(g));
    }
    expect_pools_kept(s, t.pages);
    ASSERT_EQ(plan_targets(s).pages, t.pages) << "the same snapshot, the same answer";
  }
}

TEST(Targets, NothingIsLeftOverThatSomebodyCouldHave) {
  base::Random random(6);
  for (int round = 0; round < 100; ++round) {
    auto s = random_tree(random);
    for (auto& p : s.pools) p.limit = 0;
    std::uint64_t usable = 0;
    for (const auto& g : s.guests) usable += most_of(g);
    // Less than a page for each guest and pool is lost by rounding.
    EXPECT_GE(sum(plan_targets(s).pages) + s.guests.size() + s.pools.size(), std::min(usable, s.memory));
  }
}

TEST(Targets, TheOrderOfGuestsDoesNotMatter) {
  base::Random random(7);
  for (int round = 0; round < 100; ++round) {
    const auto s = random_tree(random);
    std::vector<std::size_t> order(s.guests.size());
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t i = order.size(); i-- > 1;) std::swap(order[i], order[random.below(i + 1)]);
    auto mixed = s;
    for (std::size_t i = 0; i < order.size(); ++i) mixed.guests[i] = s.guests[order[i]];
    const auto a = plan_targets(s), b = plan_targets(mixed);
    for (std::size_t i = 0; i < order.size(); ++i) ASSERT_EQ(b.pages[i], a.pages[order[i]]) << round;
  }
}

TEST(Targets, TheOrderOfPoolsDoesNotMatter) {
  base::Random random(9);
  for (int round = 0; round < 100; ++round) {
    const auto s = random_tree(random);
    // Parents stay before their children: the pools of each parent swap places with all that is below them.
    std::vector<std::size_t> place(s.pools.size()), depth(s.pools.size()), order(s.pools.size());
    for (std::size_t p = 1; p < s.pools.size(); ++p) depth[p] = depth[s.pools[p].parent] + 1;
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return depth[a] != depth[b] ? depth[a] < depth[b] : a > b; });
    for (std::size_t i = 0; i < order.size(); ++i) place[order[i]] = i;
    auto mixed = s;
    for (std::size_t p = 0; p < s.pools.size(); ++p) {
      mixed.pools[place[p]] = s.pools[p];
      mixed.pools[place[p]].parent = place[s.pools[p].parent];
    }
    for (auto& g : mixed.guests) g.pool = place[g.pool];
    ASSERT_EQ(plan_targets(mixed).pages, plan_targets(s).pages) << round;
  }
}

// Whole pages are shared out: what rounding leaves over goes on by shares too.
TEST(Targets, MoreSharesNeverMeanLess) {
  base::Random random(8);
  const auto raise = [&](auto& shares) { shares += 1 + random.below(1000); };
  for (int round = 0; round < 4000; ++round) {
    const bool large = round < 100;
    auto s = large ? random_tree(random) : random_tree(random, 1 + random.below(11), 1 + random.below(1000));
    const auto before = plan_targets(s).pages;
    for (int k = 0; k < 5; ++k) {
      auto more = s;
      const auto i = random.below(s.guests.size());
      raise(more.guests[i].shares);
      ASSERT_GE(plan_targets(more).pages[i], before[i]) << round;
    }
    auto more = s;
    const auto pool = random.below(s.pools.size());
    raise(more.pools[pool].shares);
    const auto after = plan_targets(more).pages;
    for (std::size_t i = 0; i < s.guests.size(); ++i) {
      auto p = s.guests[i].pool;
      while (p != pool && p != 0) p = s.pools[p].parent;
      if (p == pool) {
        ASSERT_GE(after[i], before[i]) << round;
      }
    }
  }
  // A level that is not quite one.
  TargetSnapshot one;
  one.pools.emplace_back();
  one.memory = 1;
  one.guests.resize(1);
  one.guests[0].consumed = 1000;
  for (std::uint64_t shares = 1; shares < 200; ++shares) {
    one.guests[0].shares = shares;
    EXPECT_EQ(plan_targets(one).pages[0], 1u) << shares;
  }
}

}  // namespace
}  // namespace vmm::policy
