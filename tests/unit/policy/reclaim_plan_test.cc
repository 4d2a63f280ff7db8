// What is taken, of whom, and how: the mark, shares, reservations, limits, balloons, and who waits for what.
#include "policy/reclaim_plan.h"

#include <gtest/gtest.h>

namespace vmm::policy {
namespace {

using enum MemoryState;

// A budget of 100,000 pages with 6,000 kept free.
ReclaimSnapshot host(std::uint64_t free, MemoryState state = high) {
  ReclaimSnapshot s;
  s.budget = 100'000;
  s.free = free;
  s.state = state;
  s.marks = state_marks(MemoryLadder::classic, s.budget, 0.06);
  s.pools.resize(1);
  return s;
}

ReclaimGuest guest(std::uint64_t resident, std::uint64_t reservation = 0, std::uint64_t limit = 0) {
  ReclaimGuest g;
  g.resident = resident;
  g.claim.reservation = reservation;
  g.claim.limit = limit;
  return g;
}

ReclaimGuest with_balloon(ReclaimGuest g, std::uint64_t most, std::uint64_t ballooned = 0) {
  g.balloon = true;
  g.balloon_max = most;
  g.ballooned = ballooned;
  return g;
}

TEST(ReclaimPlanTest, NothingIsNeededWhileMemoryIsPlentiful) {
  auto s = host(50'000);
  s.guests = {guest(50'000)};
  const auto plan = plan_reclaim(s);
  EXPECT_FALSE(plan.needed);
  EXPECT_EQ(plan.steps[0].park, 0u);
  EXPECT_EQ(plan.steps[0].write, 0u);
}

// 6,439 pages make the state high again.
TEST(ReclaimPlanTest, WhoPaysLeastForItsPagesGivesThem) {
  auto s = host(5'000, soft);
  s.guests = {guest(60'000), guest(30'000), guest(5'000)};
  for (auto& g : s.guests) g.claim.shares = 1'000;
  auto plan = plan_reclaim(s);
  EXPECT_TRUE(plan.memory_short);
  EXPECT_EQ(plan.steps[0].write, 1'439u);
  EXPECT_EQ(plan.steps[1].write, 0u);
  EXPECT_EQ(plan.steps[2].write, 0u);
  // With twice the shares for twice the memory both give, the one twice as much.
  s.guests[0].claim.shares = 2'000;
  plan = plan_reclaim(s);
  EXPECT_NEAR(static_cast<double>(plan.steps[0].write), 1'439 * 2 / 3.0, 2);
  EXPECT_NEAR(static_cast<double>(plan.steps[1].write), 1'439 / 3.0, 2);
  // Idle memory costs more.
  for (auto& g : s.guests) g.claim.tax = 0.75;
  s.guests[1].claim.active = 0.1;
  plan = plan_reclaim(s);
  EXPECT_EQ(plan.steps[0].write, 0u);
  EXPECT_EQ(plan.steps[1].write, 1'439u);
}

TEST(ReclaimPlanTest, ReservationsAreKeptEvenInLow) {
  auto s = host(0, low);
  s.starving = true;
  s.guests = {guest(50'000, 50'000), guest(50'000, 49'000)};
  const auto plan = plan_reclaim(s);
  EXPECT_EQ(plan.steps[0].park + plan.steps[0].write, 0u);
  EXPECT_EQ(plan.steps[1].park, 1'000u);
  EXPECT_EQ(plan.steps[1].write, 1'000u);
}

TEST(ReclaimPlanTest, PagesOnTheirWayOutAreNotTakenTwice) {
  // 1,000 pages above the reservation, all of them being written: taking more would break the promise.
  auto s = host(1'000, low);
  s.guests = {guest(50'000, 49'000), guest(40'000, 40'000)};
  s.guests[0].staged = 1'000;
  EXPECT_EQ(plan_reclaim(s).steps[0].park, 0u);
  s.guests[0].staged = 400;
  EXPECT_EQ(plan_reclaim(s).steps[0].park, 600u);
}

TEST(ReclaimPlanTest, AGuestAtItsLimitGivesPagesUpWhateverProtectsThem) {
  struct Case {
    const char* name;
    std::uint64_t protected_pages;
  };
  // Reservation or pins as large as the limit: the guest could never touch another page otherwise.
  for (const Case& c : {Case{"no reservation", 0}, Case{"half", 500}, Case{"all but little", 995}, Case{"all", 1'000}}) {
    auto s = host(90'000);
    s.guests = {guest(1'000, c.protected_pages, 1'000)};
    const auto plan = plan_reclaim(s);
    EXPECT_TRUE(plan.needed) << c.name;
    EXPECT_FALSE(plan.memory_short) << c.name;
    EXPECT_GE(plan.steps[0].park, 16u) << c.name;
    EXPECT_GE(plan.steps[0].write, 16u) << c.name;
    EXPECT_EQ(plan.steps[0].reason, ReclaimReason::limit) << c.name;
    // What is being written has made the room already.
    s.guests[0].staged = 16;
    EXPECT_EQ(plan_reclaim(s).steps[0].park, 0u) << c.name;
  }
}

TEST(ReclaimPlanTest, WhoWaitsForItsOwnLimitCostsOthersNothing) {
  auto s = host(50'000);
  s.starving = true;
  s.guests = {guest(1'000, 0, 1'000), guest(40'000)};
  s.guests[1].parked = s.guests[1].staged = 500;
  const auto plan = plan_reclaim(s);
  EXPECT_GT(plan.steps[0].write, 0u);
  EXPECT_EQ(plan.steps[1].park, 0u);
  EXPECT_EQ(plan.steps[1].write, 0u);
}

TEST(ReclaimPlanTest, APoolIsKeptToItsLimitInEveryState) {
  auto s = host(50'000);
  s.pools.push_back({0, 1'000, 0, 10'000});
  s.guests = {guest(9'000), guest(3'000), guest(30'000)};
  s.guests[0].claim.pool = s.guests[1].claim.pool = 1;
  const auto plan = plan_reclaim(s);
  EXPECT_TRUE(plan.needed);
  EXPECT_GE(plan.steps[0].write + plan.steps[1].write, 2'000u);
  EXPECT_LE(plan.steps[0].write + plan.steps[1].write, 2'100u);
  EXPECT_EQ(plan.steps[0].reason, ReclaimReason::pool_limit);
  EXPECT_EQ(plan.steps[2].write, 0u);
}

TEST(ReclaimPlanTest, APoolReservedUpToItsLimitExchangesPages) {
  auto s = host(50'000);
  s.pools.push_back({0, 1'000, 0, 10'000});
  s.guests = {guest(6'000, 6'000), guest(4'000, 4'000)};
  s.guests[0].pinned = 6'000;
  s.guests[0].claim.pool = s.guests[1].claim.pool = 1;
  const auto plan = plan_reclaim(s);
  EXPECT_EQ(plan.steps[0].park, 0u) << "all of it is pinned";
  EXPECT_GE(plan.steps[1].park, 16u);
  EXPECT_GE(plan.steps[1].write, 16u);
}

TEST(ReclaimPlanTest, GraceShrinksWithMemoryAndIsNothingForWhoWaits) {
  auto s = host(6'000);
  s.guests = {guest(94'000)};
  EXPECT_EQ(plan_reclaim(s).grace, kGrace);
  s.free = 4'500;
  EXPECT_LT(plan_reclaim(s).grace, kGrace);
  EXPECT_GT(plan_reclaim(s).grace.count(), 0);
  s.free = 3'000;
  EXPECT_EQ(plan_reclaim(s).grace.count(), 0);
  s.free = 6'000;
  s.starving = true;
  EXPECT_EQ(plan_reclaim(s).grace.count(), 0);
}

TEST(ReclaimPlanTest, NothingIsKeptFreeAndSomebodyWaits) {
  auto s = host(0);
  s.marks = state_marks(MemoryLadder::classic, s.budget, 0);
  s.guests = {guest(100'000)};
  s.starving = true;
  const auto plan = plan_reclaim(s);
  EXPECT_TRUE(plan.memory_short);
  EXPECT_GE(plan.steps[0].write, 64u);
}

TEST(ReclaimPlanTest, InSoftTheBalloonGivesAndWhoHasNoneIsSwapped) {
  auto s = host(5'000, soft);
  s.guests = {with_balloon(guest(60'000), 30'000), guest(35'000)};
  s.guests[0].claim.shares = 60;
  s.guests[1].claim.shares = 35;
  auto plan = plan_reclaim(s);
  EXPECT_GT(plan.steps[0].inflate, 900u);
  EXPECT_EQ(plan.steps[0].park + plan.steps[0].write, 0u);
  EXPECT_EQ(plan.steps[1].inflate, 0u);
  EXPECT_GT(plan.steps[1].write, 400u);
  // What was asked for is on its way: it is not asked again.
  s.guests[0].inflating = plan.steps[0].inflate;
  s.guests[1].staged = plan.steps[1].write;
  plan = plan_reclaim(s);
  EXPECT_EQ(plan.steps[0].inflate, 0u);
  EXPECT_EQ(plan.steps[1].write, 0u);
  // In hard it is not relied on.
  s.state = hard;
  s.free = 3'000;
  s.guests[1].staged = 0;
  plan = plan_reclaim(s);
  EXPECT_GT(plan.steps[0].write, 1'000u);
}

TEST(ReclaimPlanTest, ABalloonBeginsAheadOfSoftAndSwapDoesNot) {
  auto s = host(7'000);
  s.guests = {with_balloon(guest(60'000), 30'000), guest(33'000)};
  const auto plan = plan_reclaim(s);
  EXPECT_EQ(plan.steps[0].inflate, 781u) << "500 are missing, but a driver is asked for a part of the budget";
  EXPECT_EQ(plan.steps[0].write, 0u);
  EXPECT_EQ(plan.steps[1].write, 0u);
  EXPECT_FALSE(plan.memory_short);
}

TEST(ReclaimPlanTest, WhatTheBalloonMayNotTakeIsSwapped) {
  auto s = host(5'000, soft);
  s.guests = {with_balloon(guest(60'000), 10'000, 9'800)};
  const auto plan = plan_reclaim(s);
  EXPECT_EQ(plan.steps[0].inflate, 200u);
  EXPECT_EQ(plan.steps[0].write, 1'239u);
}

TEST(ReclaimPlanTest, BalloonsAreGivenBackSlowlyWhenMemoryIsPlentiful) {
  auto s = host(60'000);
  s.guests = {with_balloon(guest(1'000), 40'000, 20'000), with_balloon(guest(1'000), 40'000, 100), guest(1'000)};
  EXPECT_EQ(plan_deflate(s), (std::vector<std::uint64_t>{5'000, 100, 0}));
  s.free = 10'000;
  EXPECT_EQ(plan_deflate(s), (std::vector<std::uint64_t>{0, 0, 0}));
  s.free = 14'000;  // 561 to give: not more than there is room for
  const auto some = plan_deflate(s);
  EXPECT_LE(some[0] + some[1], 561u);
  EXPECT_GT(some[0], 500u);
  s.free = 60'000;
  // Not to who may not use it.
  s.guests[0].claim.limit = 3'000;
  EXPECT_EQ(plan_deflate(s)[0], 2'000u);
  s.guests[0].claim.limit = 0;
  s.pools.push_back({0, 1, 0, 2'500});
  s.guests[0].claim.pool = 1;
  EXPECT_EQ(plan_deflate(s)[0], 1'500u);
  // A pool above its own counts as well, and what is given to one is not given to its neighbour again.
  s.pools = {{}, {0, 1, 0, 4'000}, {1, 1, 0, 0}, {1, 1, 0, 100'000}};
  s.guests[0].claim.pool = 2;
  s.guests[2] = with_balloon(guest(1'000), 40'000, 20'000);
  s.guests[2].claim.pool = 3;
  const auto shared = plan_deflate(s);
  EXPECT_EQ(shared[0] + shared[2], 2'000u);
  s.guests[0].claim.pool = s.guests[2].claim.pool = 0;
  s.state = soft;
  EXPECT_EQ(plan_deflate(s)[0], 0u);
}

}  // namespace
}  // namespace vmm::policy
