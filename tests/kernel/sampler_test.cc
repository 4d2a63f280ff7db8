#include "reclaim/sampler.h"

#include <cerrno>

#include <gtest/gtest.h>

#include "reclaim/discard.h"
#include "support/call_hook.h"
#include "support/eventually.h"
#include "support/guarded_access.h"
#include "support/kernel_view.h"
#include "support/sampling.h"

namespace vmm {
namespace {

using reclaim::Sampler;
using region::PageState;
using test::NodeRig;
using test::try_read;
using test::watched_pages;

class SamplerTest : public test::EachWay {
 protected:
  base::Random random_{1};
};
VMM_EACH_WAY(SamplerTest);

TEST_P(SamplerTest, WatchedPagesAreOutOfPlaceAndCostNoMemory) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.settle(guest);
  Sampler sampler(guest.memory());
  EXPECT_EQ(sampler.begin(100, rig.now(), random_), 100u);
  EXPECT_EQ(sampler.size(), 100u);
  EXPECT_EQ(sampler.parked(), 100u);
  EXPECT_EQ(watched_pages(guest).size(), 100u) << "all different";
  EXPECT_EQ(guest->counters.staging.load(), 100u);
  EXPECT_EQ(test::resident_pages(guest.at(0), 256), 156u);
  EXPECT_EQ(test::resident_pages(guest->staged(0), 256), 100u);
  EXPECT_EQ(rig.credit().charged(), 256u);
  const auto sample = sampler.end();
  EXPECT_EQ(sample.pages, 100u);
  EXPECT_EQ(sample.touched, 0u);
  EXPECT_TRUE(watched_pages(guest).empty());
  EXPECT_EQ(guest->counters.staging.load(), 0u);
  EXPECT_EQ(test::resident_pages(guest.at(0), 256), 256u);
  EXPECT_EQ(test::resident_pages(guest->staged(0), 256), 0u);
  EXPECT_EQ(sampler.size(), 0u);
  EXPECT_EQ(sampler.end().pages, 0u);
  const auto faults = guest->counters.faults.load();
  EXPECT_EQ(guest.wrong(), "");
  EXPECT_EQ(guest->counters.faults.load(), faults) << "nothing is left to be answered";
}

TEST_P(SamplerTest, SmallGuestIsWatchedWholeAndTheRunningSampleGrows) {
  NodeRig rig(GetParam());
  test::RigGuestOptions options;
  options.pages = 40;
  auto& guest = rig.add(options);
  guest.fill();
  Sampler sampler(guest.memory());
  rig.settle(guest);
  EXPECT_EQ(sampler.begin(100, rig.now(), random_), 40u);
  for (std::uint64_t page = 0; page < 40; ++page) {
    EXPECT_EQ(sampler.touched(), page);
    try_read(guest.at(page));
  }
  EXPECT_EQ(sampler.end().fraction(), 1.0);
  EXPECT_EQ(guest.wrong(), "");
}

// Another period may follow without end(); and a guest where a touch is no fault is not sampled.
TEST_P(SamplerTest, BeginEndsThePeriodBefore) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.settle(guest);
  Sampler sampler(guest.memory());
  sampler.begin(100, rig.now(), random_);
  EXPECT_EQ(sampler.begin(10, rig.now(), random_), 10u);
  EXPECT_EQ(watched_pages(guest).size(), 10u);
  EXPECT_EQ(guest->counters.staging.load(), 10u);
  sampler.end();
  {
    base::MutexLock lock(guest->control);
    EXPECT_TRUE(guest->unmanage()) << "nothing is in its way";
  }
  EXPECT_EQ(sampler.begin(100, rig.now(), random_), 0u);
  EXPECT_TRUE(watched_pages(guest).empty());
}

TEST_P(SamplerTest, PinnedPagesCountAsTouchedAndStay) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.settle(guest);
  ASSERT_TRUE(guest.pins().pin(0, 64, 256));
  Sampler sampler(guest.memory());
  EXPECT_EQ(sampler.begin(256, rig.now(), random_), 256u);
  EXPECT_EQ(sampler.touched(), 64u);
  EXPECT_EQ(test::resident_pages(guest.at(0), 64), 64u);
  // What is pinned in the middle of a period is brought, and so touched.
  ASSERT_TRUE(guest.pins().pin(100, 20, 256));
  EXPECT_EQ(sampler.end().touched, 84u);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(SamplerTest, DiscardKeepsTheWatchAndATouchAfterItCounts) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.settle(guest);
  Sampler sampler(guest.memory());
  EXPECT_EQ(sampler.begin(256, rig.now(), random_), 256u);
  ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 0, 256));
  EXPECT_EQ(sampler.touched(), 0u);
  EXPECT_EQ(guest->counters.staging.load(), 0u);
  for (std::uint64_t page = 0; page < 32; ++page) EXPECT_EQ(try_read(guest.at(page)).value, 0u);
  EXPECT_EQ(sampler.touched(), 32u) << "in order, but filled one by one";
  EXPECT_EQ(guest->counters.sample_faults.load(), 0u) << "these would have been faults anyway";
  sampler.end();
  EXPECT_TRUE(watched_pages(guest).empty());
  rig.settle(guest);
  EXPECT_EQ(rig.credit().charged(), 32u);
}

TEST_P(SamplerTest, PrefetchCountsAsUse) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  Sampler sampler(guest.memory());
  EXPECT_EQ(sampler.begin(256, rig.now(), random_), 256u);
  ASSERT_TRUE(rig.faults().prefetch(guest.memory(), 0, 128));
  rig.faults().wait_prefetched(guest.memory());
  rig.settle(guest);
  EXPECT_EQ(sampler.touched(), 128u);
  EXPECT_EQ(guest.wrong(), "");
  EXPECT_EQ(sampler.end().touched, 256u);
}

TEST_P(SamplerTest, UnderPressureTheUntouchedAreWrittenFirstAndStayWatched) {
  NodeRig rig(GetParam());
  test::RigGuestOptions options;
  options.pages = 1024;
  auto& guest = rig.add(options);
  guest.fill();
  rig.settle(guest);
  Sampler sampler(guest.memory());
  rig.set_now(std::chrono::seconds(10));
  EXPECT_EQ(sampler.begin(100, rig.now(), random_), 100u);
  const auto watched = watched_pages(guest);
  for (std::size_t i = 0; i < 20; ++i) try_read(guest.at(watched[i]));
  rig.set_now(std::chrono::seconds(20));
  EXPECT_GE(rig.park(guest), 800u);
  EXPECT_EQ(sampler.release_parked(guest.evictor(), rig.now(), 30), 30u) << "what is reserved stays";
  EXPECT_EQ(sampler.parked(), 50u);
  EXPECT_EQ(sampler.release_parked(guest.evictor(), rig.now(), 1000), 50u);
  EXPECT_EQ(sampler.release_parked(guest.evictor(), rig.now(), 1000), 0u) << "once each";
  EXPECT_EQ(sampler.parked(), 0u);
  // Parked ten seconds before the others.
  EXPECT_EQ(guest.evictor().write(1024, std::chrono::seconds(10), rig.now(), rig.out()), 80u);
  rig.finish();
  EXPECT_EQ(guest->counters.swapped.load(), 80u);
  EXPECT_EQ(watched_pages(guest).size(), 80u);
  for (const auto page : watched_pages(guest)) EXPECT_EQ(guest.state(page), PageState::swapped);
  EXPECT_EQ(sampler.touched(), 20u);
  // Back by their touch, in ascending order: what is read ahead does not count.
  for (std::size_t i = 20; i < 40; ++i) try_read(guest.at(watched[i]));
  EXPECT_EQ(sampler.touched(), 40u);
  const auto sample = sampler.end();
  EXPECT_EQ(sample.pages, 100u);
  EXPECT_EQ(sample.touched, 40u);
  EXPECT_TRUE(watched_pages(guest).empty());
  EXPECT_EQ(guest.wrong(), "");
  rig.evict(guest);
  EXPECT_EQ(guest->counters.staging.load(), 0u);
  EXPECT_EQ(guest->counters.resident.load(), 0u);
}

// In the evictor's list and back in the guest, or there twice: neither does harm.
TEST_P(SamplerTest, WhatIsHandedOnAndGivenBackIsWrittenOnce) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.settle(guest);
  Sampler sampler(guest.memory());
  sampler.begin(100, rig.now(), random_);
  EXPECT_EQ(sampler.release_parked(guest.evictor(), rig.now(), 256), 100u);
  sampler.end();
  EXPECT_EQ(test::resident_pages(guest.at(0), 256), 256u);
  rig.park(guest);
  EXPECT_EQ(guest.wrong(0, 32, 1), "");
  rig.write(guest);
  rig.settle(guest);
  EXPECT_EQ(guest->counters.swapped_out.load(), guest->counters.swapped.load());
  EXPECT_EQ(guest->counters.staging.load(), 0u);
  EXPECT_EQ(guest.evictor().parked(), 0u);
  EXPECT_EQ(guest->counters.resident.load(), test::resident_pages(guest.at(0), 256));
  EXPECT_EQ(guest.wrong(), "");
}

// A failed write puts pages back where their touch is no fault.
TEST_P(SamplerTest, PagesPutBackByAFailedWriteCountNoMore) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.settle(guest);
  Sampler sampler(guest.memory());
  sampler.begin(100, rig.now(), random_);
  const auto watched = watched_pages(guest);
  for (std::size_t i = 0; i < 10; ++i) try_read(guest.at(watched[i]));
  sampler.release_parked(guest.evictor(), rig.now(), 256);
  {
    test::CallHook hook;
    hook.fail(rig.write_call(), EIO);
    rig.write(guest);
  }
  EXPECT_EQ(test::resident_pages(guest.at(0), 256), 256u);
  EXPECT_EQ(sampler.so_far().pages, 10u);
  EXPECT_EQ(sampler.end().touched, 10u);
  EXPECT_TRUE(watched_pages(guest).empty());
  EXPECT_EQ(guest.wrong(), "");
}

// Pages whose write failed are looked for anew; the sampler's, which may be reserved memory, are not among them.
TEST_P(SamplerTest, StrandedPagesAreNotTheSamplers) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.settle(guest);
  Sampler sampler(guest.memory());
  sampler.begin(100, rig.now(), random_);
  guest.store().stranded = true;
  guest.evictor().find_stranded(rig.now());
  EXPECT_EQ(guest.evictor().parked(), 0u);
  rig.write(guest);
  EXPECT_EQ(guest->counters.swapped.load(), 0u);
  EXPECT_EQ(sampler.end().pages, 100u);
  EXPECT_EQ(test::resident_pages(guest.at(0), 256), 256u);
}

// The evictor makes its list anew: what is watched and its own is in it again, and is written.
TEST_P(SamplerTest, StrandedPagesThatWereHandedOnAreTheEvictors) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.settle(guest);
  while (guest.evictor().park(64, ~std::uint64_t{0}, rig.now()) == 0) continue;  // warm at first
  const auto parked = guest->counters.staging.load();
  Sampler sampler(guest.memory());
  sampler.begin(256, rig.now(), random_);  // all: those that are parked, too
  ASSERT_EQ(guest->counters.staging.load(), 256u);
  const auto handed = sampler.release_parked(guest.evictor(), rig.now(), 100);
  ASSERT_EQ(handed, 100u);
  guest.store().stranded = true;
  ASSERT_TRUE(guest.evictor().find_stranded(rig.now()));
  sampler.hand_on_again(guest.evictor());
  EXPECT_EQ(guest.evictor().parked(), parked + handed);
  rig.write(guest);
  EXPECT_EQ(guest->counters.swapped.load(), parked + handed);
  EXPECT_EQ(guest->counters.staging.load(), sampler.parked()) << "nothing leaves that nobody writes";
  EXPECT_FALSE(guest.evictor().find_stranded(rig.now()));
  sampler.end();
  EXPECT_EQ(guest->counters.staging.load(), 0u);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(SamplerTest, WhatTheKernelRefusesToGiveBackIsParkedAnew) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.settle(guest);
  Sampler sampler(guest.memory());
  sampler.begin(100, rig.now(), random_);
  {
    test::CallHook hook;
    hook.fail(os::Call::uffd_move, ENOMEM);
    if (!rig.moves()) hook.fail(os::Call::uffd_copy, ENOMEM);
    sampler.end();
  }
  EXPECT_TRUE(watched_pages(guest).empty());
  EXPECT_EQ(guest->counters.staging.load(), 100u);
  rig.evict(guest);
  EXPECT_EQ(guest->counters.staging.load(), 0u);
  EXPECT_EQ(guest->counters.resident.load(), 0u);
  EXPECT_EQ(guest.wrong(), "");
}

// No page of it can be taken: the period has no sample, and the guest is as it was.
TEST_P(SamplerTest, RefusedPagesAreReplacedWithinBounds) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.settle(guest);
  Sampler sampler(guest.memory());
  {
    test::CallHook hook;
    const auto call = rig.moves() ? os::Call::uffd_move : os::Call::uffd_writeprotect;
    hook.fail(call, EBUSY);
    EXPECT_EQ(sampler.begin(50, rig.now(), random_), 0u);
    EXPECT_LE(hook.count(call), 50u + 4 * 50);
  }
  EXPECT_EQ(sampler.end().pages, 0u);
  {
    test::CallHook hook;
    hook.fail(rig.moves() ? os::Call::uffd_move : os::Call::uffd_writeprotect, EBUSY, 20);
    EXPECT_EQ(sampler.begin(50, rig.now(), random_), 50u) << "others take the place of the first twenty";
  }
  sampler.end();
  EXPECT_EQ(guest.wrong(), "");
  EXPECT_EQ(test::resident_pages(guest.at(0), 256), 256u);
}

}  // namespace
}  // namespace vmm
