// Rescue by copying: the page is back at once, its staged original stays until the worker drops it.
#include <cstring>

#include <gtest/gtest.h>

#include "reclaim/discard.h"
#include "reclaim/drop_leftovers.h"
#include "region/leftovers.h"
#include "support/eventually.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"

namespace vmm {
namespace {

using region::Leftovers;
using region::PageState;
using test::NodeRig;

class LeftoversTest : public test::BackEnds {
 protected:
  // A guest whose pages are all parked.
  static test::RigGuest& parked(NodeRig& rig, std::uint64_t pages = 256) {
    test::RigGuestOptions options;
    options.pages = pages;
    auto& guest = rig.add(options);
    guest.fill();
    EXPECT_EQ(rig.park(guest), pages);
    return guest;
  }
  // Waits until the fault thread has nothing left to do with the page.
  static void wait_for(test::RigGuest& guest, std::uint64_t page) {
    ASSERT_TRUE(test::eventually([&] { return !guest->table.load(page).locked(); }));
  }
  static std::uint64_t staged_pages(test::RigGuest& guest) {
    return test::resident_pages(guest->staged(0), guest->pages());
  }
};
VMM_ALL_BACK_ENDS(LeftoversTest);

TEST_P(LeftoversTest, TheOriginalOfARescuedPageStaysUntilItIsDropped) {
  NodeRig rig(GetParam());
  auto& guest = parked(rig);
  EXPECT_EQ(guest.wrong(100, 101, 1), "");
  wait_for(guest, 100);
  EXPECT_EQ(guest.state(100), PageState::resident);
  EXPECT_TRUE(guest->table.load(100).writing()) << "its place in staging is not free";
  EXPECT_EQ(staged_pages(guest), 256u);
  EXPECT_EQ(rig.credit().charged(), 257u) << "the page is there twice, and so it is charged";
  reclaim::drop_leftovers(guest.memory());
  EXPECT_EQ(staged_pages(guest), 255u);
  EXPECT_EQ(rig.credit().charged(), 256u);
  EXPECT_EQ(guest->counters.staging.load(), 255u);
  EXPECT_FALSE(guest->table.load(100).writing());
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(LeftoversTest, WhatTheGuestWritesAfterTheRescueIsWhatLeavesIt) {
  NodeRig rig(GetParam());
  auto& guest = parked(rig);
  guest.fill(40, 41, 2);
  EXPECT_EQ(rig.write(guest), 255u) << "the page is the guest's, only its original is in staging";
  EXPECT_EQ(guest.wrong(40, 41, 2), "");
  rig.evict(guest);
  EXPECT_EQ(guest.state(40), PageState::swapped);
  EXPECT_EQ(guest.wrong(40, 41, 2), "");
  EXPECT_EQ(guest.wrong(0, 40, 1), "");
}

TEST_P(LeftoversTest, AMarkedPageIsNotTakenAgain) {
  NodeRig rig(GetParam());
  auto& guest = parked(rig);
  EXPECT_EQ(guest.wrong(9, 10, 1), "");
  wait_for(guest, 9);
  for (int round = 0; round < 5; ++round) EXPECT_EQ(guest.evictor().park(256, ~std::uint64_t{0}, rig.now()), 0u);
  reclaim::drop_leftovers(guest.memory());
  std::uint64_t taken = 0;
  for (int round = 0; round < 5; ++round) taken += guest.evictor().park(256, ~std::uint64_t{0}, rig.now());
  EXPECT_EQ(taken, 1u);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(LeftoversTest, DiscardedBeforeItsOriginalIsDroppedThePageReadsAsZeros) {
  NodeRig rig(GetParam());
  auto& guest = parked(rig);
  guest.fill(7, 8, 3);
  wait_for(guest, 7);
  ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 7, 1));
  EXPECT_TRUE(test::is_zero(guest.at(7)));
  guest.fill(7, 8, 4);
  rig.settle(guest);
  EXPECT_EQ(guest.wrong(7, 8, 4), "");
  EXPECT_EQ(staged_pages(guest), 255u);
  rig.evict(guest);
  EXPECT_EQ(guest.wrong(7, 8, 4), "");
}

TEST_P(LeftoversTest, WithoutRoomForMoreThePageItselfGoesBack) {
  NodeRig rig(GetParam());
  constexpr std::uint64_t kPages = 4 * Leftovers::kMost;
  auto& guest = parked(rig, kPages);
  // Backwards, so that each fault brings one page only.
  for (std::uint64_t page = kPages; page-- > kPages - 2 * Leftovers::kMost;) EXPECT_EQ(guest.wrong(page, page + 1, 1), "");
  wait_for(guest, kPages - 2 * Leftovers::kMost);
  EXPECT_GT(rig.memory_wanted_calls(), 0u) << "the worker is told to drop them";
  EXPECT_EQ(staged_pages(guest), kPages - Leftovers::kMost);
  EXPECT_EQ(rig.credit().charged(), kPages + Leftovers::kMost);
  rig.settle(guest);
  EXPECT_EQ(staged_pages(guest), kPages - 2 * Leftovers::kMost);
  EXPECT_EQ(rig.credit().charged(), kPages);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(LeftoversTest, WithoutCreditThePageItselfGoesBack) {
  test::RigOptions options;
  options.budget_pages = 256;
  NodeRig rig(GetParam(), options);
  auto& guest = parked(rig);
  EXPECT_EQ(guest.wrong(100, 101, 1), "");
  wait_for(guest, 100);
  EXPECT_EQ(staged_pages(guest), 255u);
  EXPECT_EQ(rig.credit().charged(), 256u);
}

// A clean page that is read in its grace period needs no write when it leaves after all.
TEST_P(LeftoversTest, APageThatIsOnlyReadKeepsItsSlot) {
  NodeRig rig(GetParam());
  test::RigGuestOptions one_run;
  one_run.pages = 64;
  auto& guest = rig.add(one_run);
  guest.fill();
  rig.evict(guest);
  EXPECT_EQ(guest.wrong(), "");  // all read back
  rig.settle(guest);
  ASSERT_EQ(rig.park(guest), 64u);
  EXPECT_EQ(guest.wrong(20, 21, 1), "");
  rig.settle(guest);
  ASSERT_TRUE(guest->table.load(20).has_slot());
  const auto written = guest->counters.swap_written.load();
  rig.evict(guest);
  EXPECT_EQ(guest->counters.swap_written.load(), written);
  EXPECT_EQ(guest.wrong(), "");
}

}  // namespace
}  // namespace vmm
