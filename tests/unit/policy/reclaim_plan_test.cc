// What is parked and written, and of whom: the threshold, reservations, limits, and who waits for what.
#include "policy/reclaim_plan.h"

#include <gtest/gtest.h>

namespace vmm::policy {
namespace {

// A budget of 100,000 pages with 6,000 kept free.
ReclaimSnapshot host(std::uint64_t consumed) {
  ReclaimSnapshot s;
  s.budget = 100'000;
  s.consumed = consumed;
  return s;
}

ReclaimGuest guest(std::uint64_t resident, std::uint64_t protected_pages = 0, std::uint64_t limit = 0) {
  ReclaimGuest g;
  g.resident = resident;
  g.protected_pages = protected_pages;
  g.limit = limit;
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

TEST(ReclaimPlanTest, GuestsGiveInProportionToWhatTheyHoldAboveTheirReservation) {
  auto s = host(97'000);
  s.guests = {guest(60'000, 30'000), guest(30'000, 20'000), guest(5'000, 5'000)};
  const auto plan = plan_reclaim(s);
  EXPECT_TRUE(plan.memory_short);
  EXPECT_GT(plan.steps[0].park, 2 * plan.steps[1].park);
  EXPECT_LT(plan.steps[0].park, 4 * plan.steps[1].park);
  EXPECT_EQ(plan.steps[2].park, 0u);
}

TEST(ReclaimPlanTest, PagesOnTheirWayOutAreNotTakenTwice) {
  // 1,000 pages above the reservation, all of them being written: taking more would break the promise.
  auto s = host(99'000);
  s.guests = {guest(50'000, 49'000), guest(40'000, 40'000)};
  s.guests[0].staged = 1'000;
  s.in_flight = 1'000;
  EXPECT_EQ(plan_reclaim(s).steps[0].park, 0u);
  s.guests[0].staged = 400;
  s.in_flight = 400;
  EXPECT_EQ(plan_reclaim(s).steps[0].park, 600u);
}

TEST(ReclaimPlanTest, AGuestAtItsLimitGivesPagesUpWhateverProtectsThem) {
  struct Case {
    const char* name;
    std::uint64_t protected_pages;
  };
  // Reservation or pins as large as the limit: the guest could never touch another page otherwise.
  for (const Case& c : {Case{"no reservation", 0}, Case{"half", 500}, Case{"all but little", 995}, Case{"all", 1'000}}) {
    auto s = host(10'000);
    s.guests = {guest(1'000, c.protected_pages, 1'000)};
    const auto plan = plan_reclaim(s);
    EXPECT_TRUE(plan.needed) << c.name;
    EXPECT_FALSE(plan.memory_short) << c.name;
    EXPECT_GE(plan.steps[0].park, 16u) << c.name;
    EXPECT_GE(plan.steps[0].write, 16u) << c.name;
    EXPECT_TRUE(plan.steps[0].over_limit) << c.name;
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

TEST(ReclaimPlanTest, GraceShrinksWithMemoryAndIsNothingForWhoWaits) {
  auto s = host(94'000);
  s.guests = {guest(94'000)};
  EXPECT_EQ(plan_reclaim(s).grace, kGrace);
  s.consumed = 95'500;
  EXPECT_LT(plan_reclaim(s).grace, kGrace);
  EXPECT_GT(plan_reclaim(s).grace.count(), 0);
  s.consumed = 97'000;
  EXPECT_EQ(plan_reclaim(s).grace.count(), 0);
  s.consumed = 94'000;
  s.starving = true;
  EXPECT_EQ(plan_reclaim(s).grace.count(), 0);
}

TEST(ReclaimPlanTest, NothingIsKeptFreeAndSomebodyWaits) {
  auto s = host(100'000);
  s.min_free = 0;
  s.guests = {guest(100'000)};
  s.starving = true;
  const auto plan = plan_reclaim(s);
  EXPECT_TRUE(plan.memory_short);
  EXPECT_GE(plan.steps[0].write, 64u);
}

}  // namespace
}  // namespace vmm::policy
