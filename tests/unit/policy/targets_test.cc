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

// A tree of pools with 1,000 guests whose reservations fit.
TargetSnapshot random_tree(base::Random& random) {
  TargetSnapshot s;
  const auto pools = 1 + random.below(20);
  for (std::uint64_t p = 0; p < pools; ++p) {
    TargetPool pool;
    pool.parent = p == 0 ? 0 : random.below(p);
    pool.shares = 1 + random.below(10'000);
    if (random.below(3) == 0) pool.limit = 1 + random.below(3'000'000);
    s.pools.push_back(pool);
  }
  std::uint64_t least = 0, consumed = 0;
  for (int i = 0; i < 1000; ++i) {
    TargetGuest g;
    g.pool = random.below(pools);
    g.shares = random.below(10'000);
    g.overhead = random.below(50);
    g.consumed = g.overhead + random.below(20'000);
    if (random.below(3) == 0) g.limit = 1 + random.below(20'000);
    if (random.below(2) == 0) g.reservation = random.below(g.limit != 0 ? g.limit : 10'000);
    g.active = static_cast<double>(random.below(101)) / 100;
    g.tax = static_cast<double>(random.below(100)) / 100;
    least += std::min(g.consumed, g.reservation + g.overhead);
    consumed += g.consumed;
    s.guests.push_back(g);
  }
  s.memory = least + random.below(consumed - least + 1000);
  return s;
}

std::uint64_t sum(const std::vector<std::uint64_t>& pages) {
  return std::accumulate(pages.begin(), pages.end(), std::uint64_t{0});
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
      ASSERT_GE(t.pages[i], std::min({g.consumed, g.reservation + g.overhead,
                                      g.limit == 0 ? g.consumed : g.limit + g.overhead}));
      ASSERT_LE(t.pages[i], g.limit == 0 ? g.consumed : std::min(g.consumed, g.limit + g.overhead));
    }
    ASSERT_EQ(plan_targets(s).pages, t.pages) << "the same snapshot, the same answer";
  }
}

TEST(Targets, NothingIsLeftOverThatSomebodyCouldHave) {
  base::Random random(6);
  for (int round = 0; round < 100; ++round) {
    auto s = random_tree(random);
    for (auto& p : s.pools) p.limit = 0;
    std::uint64_t usable = 0;
    for (const auto& g : s.guests) usable += g.limit == 0 ? g.consumed : std::min(g.consumed, g.limit + g.overhead);
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

TEST(Targets, MoreSharesNeverMeanLess) {
  base::Random random(8);
  for (int round = 0; round < 100; ++round) {
    auto s = random_tree(random);
    const auto before = plan_targets(s);
    for (int k = 0; k < 5; ++k) {
      auto more = s;
      const auto i = random.below(s.guests.size());
      more.guests[i].shares += 1 + random.below(1000);
      ASSERT_GE(plan_targets(more).pages[i], before.pages[i]) << round;
    }
  }
}

}  // namespace
}  // namespace vmm::policy
