#include "reclaim/evictor.h"

#include <sys/mman.h>

#include <gtest/gtest.h>

#include "support/guarded_access.h"
#include "support/kernel_view.h"
#include "support/lock_memory.h"
#include "support/node_rig.h"

namespace vmm {
namespace {

using region::PageState;
using test::NodeRig;
using test::try_read;

class EvictorTest : public test::EachWay {};
VMM_EACH_WAY(EvictorTest);

constexpr auto kNoEnd = ~std::uint64_t{0};

TEST_P(EvictorTest, ParksWholeRunsAndNoMoreThanAsked) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.settle(guest);
  std::uint64_t parked = 0;
  for (int round = 0; round < 5 && parked == 0; ++round) parked = guest.evictor().park(64, kNoEnd, rig.now());
  EXPECT_EQ(parked, 64u);
  EXPECT_EQ(guest.evictor().parked(), 64u);
  EXPECT_EQ(guest->counters.staging.load(), 64u);
  EXPECT_EQ(guest->counters.resident.load(), 256u) << "parked pages are in memory";
  EXPECT_EQ(test::resident_pages(guest.at(0), 256), 192u);
}

TEST_P(EvictorTest, WhatIsTouchedGetsASecondChance) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.park(guest);
  // Rescued without I/O, and warm: the next look takes the others.
  EXPECT_EQ(guest.wrong(0, 64, 1), "");
  rig.write(guest);
  EXPECT_EQ(guest.state(0), PageState::resident);
  EXPECT_EQ(guest.state(200), PageState::swapped);
  EXPECT_EQ(guest->counters.swapped_in.load(), 0u);
  EXPECT_GT(guest->counters.rescues.load(), 0u);
  rig.settle(guest);
  guest.evictor().park(256, kNoEnd, rig.now());
  for (std::uint64_t page = 0; page < 64; ++page) EXPECT_EQ(guest.state(page), PageState::resident) << "still warm";
}

// Hot pages lie among cold ones: they stay for two visits more, and keep none of their neighbours.
TEST_P(EvictorTest, AHotPageStaysWithoutItsNeighbours) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.park(guest);
  for (const std::uint64_t page : {70u, 5u, 200u}) EXPECT_EQ(guest.wrong(page, page + 1, 1), "");
  rig.write(guest);
  rig.settle(guest);
  EXPECT_EQ(guest->counters.resident.load(), 3u);
  for (int visit = 0; visit < 2; ++visit) EXPECT_EQ(guest.evictor().park(256, kNoEnd, rig.now()), 0u) << visit;
  EXPECT_EQ(guest.evictor().park(256, kNoEnd, rig.now()), 3u);
  rig.write(guest);
  EXPECT_EQ(guest->counters.resident.load(), 0u);
  // What is read back for a touch stays for one, also where it follows a page that leaves.
  EXPECT_EQ(guest.wrong(99, 100, 1), "");
  rig.settle(guest);
  EXPECT_EQ(guest.evictor().park(256, kNoEnd, rig.now()), 0u);
  EXPECT_EQ(guest.wrong(100, 101, 1), "");
  rig.settle(guest);
  EXPECT_GT(guest.evictor().park(256, kNoEnd, rig.now()), 0u);
  EXPECT_EQ(guest.state(99), PageState::isolated);
  EXPECT_EQ(guest.state(100), PageState::resident);
  EXPECT_GT(guest.evictor().park(256, kNoEnd, rig.now()), 0u);
  EXPECT_EQ(guest.state(100), PageState::isolated);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(EvictorTest, RunsAreWrittenWhenTheirGraceHasPassed) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.set_now(std::chrono::seconds(10));
  rig.park(guest);
  EXPECT_EQ(guest.evictor().write(256, std::chrono::seconds(9), rig.now(), rig.out()), 0u);
  EXPECT_EQ(guest.evictor().write(64, std::chrono::seconds(10), rig.now(), rig.out()), 64u);
  rig.finish();
  EXPECT_EQ(guest->counters.swapped.load(), 64u);
  EXPECT_EQ(guest.evictor().parked(), 192u);
}

TEST_P(EvictorTest, PinnedPagesAreNotTaken) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  ASSERT_TRUE(guest.pins().pin(10, 20, 256));
  rig.evict(guest);
  EXPECT_EQ(guest->counters.resident.load(), 20u);
  EXPECT_EQ(test::resident_pages(guest.at(10), 20), 20u);
}

// Hazard 24: other protection, or mlock, on one side makes the kernel refuse; the rest of the guest still leaves.
TEST_P(EvictorTest, PagesThatTheKernelRefusesStayAndAreReportedOnce) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  if (test::lock_memory(guest.at(64), 64 * kPageSize) != 0) GTEST_SKIP() << "mlock is not allowed: RLIMIT_MEMLOCK";
  rig.evict(guest);
  const auto notices = rig.notices();
  if (rig.moves()) {
    ASSERT_EQ(notices.size(), 1u);
    EXPECT_EQ(notices[0].kind, region::Notice::kNotReclaimable);
    EXPECT_EQ(guest->counters.resident.load(), 64u);
  }
  ASSERT_EQ(test::unlock_memory(guest.at(64), 64 * kPageSize), 0);
  rig.evict(guest);
  EXPECT_EQ(guest->counters.resident.load(), 0u);
  EXPECT_EQ(guest.wrong(), "");
}

}  // namespace
}  // namespace vmm
