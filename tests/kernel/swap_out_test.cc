#include "reclaim/swap_out.h"

#include <cerrno>

#include <gtest/gtest.h>

#include "reclaim/discard.h"
#include "support/call_hook.h"
#include "support/guarded_access.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"
#include "support/swap_slots.h"

namespace vmm {
namespace {

using region::PageState;
using test::NodeRig;

class SwapOutTest : public test::BackEnds {};
VMM_ALL_BACK_ENDS(SwapOutTest);

TEST_P(SwapOutTest, WritesRunsAndFreesTheirMemory) {
  test::CallHook hook;
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  EXPECT_LE(hook.count(rig.write_call()), 8u) << "256 pages in runs of up to 64";
  EXPECT_EQ(guest->counters.swap_written.load(), 256 * kPageSize);
  EXPECT_EQ(guest->counters.swapped.load(), 256u);
  EXPECT_EQ(guest->counters.resident.load(), 0u);
  EXPECT_EQ(rig.credit().charged(), 0u);
  EXPECT_EQ(test::resident_pages(guest.at(0), 256) + test::resident_pages(guest->staged(0), 256), 0u);
  for (std::uint64_t page = 0; page < 256; page += 50) {
    const auto bytes = test::read_slot(guest.memory(), page);
    EXPECT_EQ(test::wrong_page(bytes.data(), guest->id(), page, 1), "");
  }
}

TEST_P(SwapOutTest, PagesOfZerosAreDroppedWithoutAWrite) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  for (std::uint64_t page = 0; page < 256; ++page) *reinterpret_cast<volatile std::uint64_t*>(guest.at(page)) = 0;
  guest.fill(100, 101, 1);
  rig.evict(guest);
  EXPECT_EQ(guest->counters.swap_written.load(), kPageSize);
  EXPECT_EQ(guest.store().slots.in_use(), 1u);
  EXPECT_EQ(guest.state(5), PageState::empty);
  EXPECT_TRUE(test::is_zero(guest.at(5)));
  EXPECT_EQ(guest.wrong(100, 101, 1), "");
}

TEST_P(SwapOutTest, CleanPagesKeepTheirSlotsAndAreNotWrittenAgain) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  EXPECT_EQ(guest.wrong(), "");
  guest.fill(10, 20, 2);
  rig.evict(guest);
  EXPECT_EQ(guest->counters.swap_written.load(), 266 * kPageSize);
  EXPECT_EQ(guest->counters.swapped_out.load(), 512u);
  EXPECT_EQ(guest.store().slots.in_use(), 256u);
  EXPECT_EQ(guest.wrong(0, 10, 1) + guest.wrong(10, 20, 2) + guest.wrong(20, 256, 1), "");
}

TEST_P(SwapOutTest, WhenSlotsRunOutThoseOfResidentPagesGo) {
  NodeRig rig(GetParam());
  test::RigGuestOptions options;
  options.slots = 128;
  auto& guest = rig.add(options);
  guest.fill(0, 128, 1);
  rig.evict(guest);
  EXPECT_EQ(guest.wrong(0, 128, 1), "");  // resident, and still with slots
  ASSERT_TRUE(guest.pins().pin(0, 128, 256));
  guest.fill(128, 256, 1);
  rig.evict(guest);
  EXPECT_EQ(guest->counters.swapped.load(), 128u);
  EXPECT_EQ(guest.store().slots.in_use(), 128u);
  guest.pins().unpin(0, 128);
  // Now the file is full of pages that are nowhere else: the others stay in memory.
  rig.evict(guest);
  EXPECT_EQ(guest->counters.resident.load(), 128u);
  EXPECT_EQ(guest.wrong(), "");
}

// What leaves in parts is split: each part's drop and the next move then cost as much as small pages do.
TEST_P(SwapOutTest, AHugePageLeavesAsOneEachTime) {
  test::RigOptions rig_options;
  rig_options.roomy_free_pages = 0;
  rig_options.zero_pool = true;
  NodeRig rig(GetParam(), rig_options);
  test::RigGuestOptions options;
  options.pages = 512;
  options.large_pages = true;
  auto& guest = rig.add(options);
  const auto huge = [&](const std::byte* start) { return test::smaps_bytes(start, kHugePageSize, "AnonHugePages"); };
  for (std::uint64_t version = 1; version <= 3; ++version) {
    if (rig.zero_pool() != nullptr) {
      ASSERT_TRUE(rig.zero_pool()->refill());
    }
    guest.fill(version);
    const bool whole = rig.moves() && huge(guest.at(0)) == kHugePageSize;
    if (rig.moves() && probe().has("transparent_huge_pages")) {
      ASSERT_TRUE(whole);
    }
    EXPECT_EQ(rig.park(guest), 512u);
    if (whole) {
      EXPECT_EQ(huge(guest->staged(0)), kHugePageSize) << version;
    }
    rig.write(guest);
    EXPECT_EQ(test::resident_pages(guest->staged(0), 512), 0u);
    EXPECT_EQ(rig.credit().charged(), 0u);
    EXPECT_EQ(guest->counters.swapped.load(), 512u);
    const auto bytes = test::read_slot(guest.memory(), 511);
    EXPECT_EQ(test::wrong_page(bytes.data(), guest->id(), 511, version), "");
    ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 0, 512));
  }
}

TEST_P(SwapOutTest, OfAHugePageWhatCannotBeWrittenGoesBack) {
  NodeRig rig(GetParam());
  test::RigGuestOptions options;
  options.pages = 512;
  options.large_pages = true;
  options.manage = false;
  auto& guest = rig.add(options);
  guest.fill();
  {
    base::MutexLock lock(guest->control);
    ASSERT_TRUE(guest->manage());
  }
  rig.park(guest);
  test::CallHook hook;
  hook.fail(rig.write_call(), EIO, 2);
  rig.write(guest);
  EXPECT_EQ(guest->counters.resident.load(), 128u);
  EXPECT_EQ(guest->counters.swapped.load(), 384u);
  EXPECT_EQ(guest->counters.staging.load(), 0u);
  EXPECT_EQ(guest.store().slots.in_use(), 384u);
  EXPECT_EQ(test::resident_pages(guest.at(0), 512), 128u);
  EXPECT_EQ(test::resident_pages(guest->staged(0), 512), 0u);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(SwapOutTest, WhatCannotGoBackAfterAFailedWriteLeavesLater) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.park(guest);
  {
    test::CallHook hook;
    hook.fail(rig.write_call(), EIO, 1);
    hook.fail(rig.moves() ? os::Call::uffd_move : os::Call::uffd_copy, ENOMEM);
    rig.write(guest);
  }
  EXPECT_EQ(guest->counters.swapped.load(), 192u);
  EXPECT_EQ(guest->counters.staging.load(), 64u) << "neither written nor given back";
  rig.evict(guest);
  EXPECT_EQ(guest->counters.swapped.load(), 256u);
  EXPECT_EQ(guest->counters.staging.load(), 0u);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(SwapOutTest, FaultsOnPagesBeingWrittenGetACopyAtOnce) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.park(guest);
  rig.write(guest, false);
  ASSERT_TRUE(guest->table.load(3).writing());
  EXPECT_EQ(guest.wrong(0, 128, 1), "");
  EXPECT_EQ(guest->counters.swapped_in.load(), 0u);
  rig.settle(guest);
  EXPECT_EQ(guest.evictor().park(256, ~std::uint64_t{0}, rig.now()), 0u) << "not taken again before the write has ended";
  rig.finish();
  EXPECT_EQ(guest->counters.resident.load(), 128u);
  EXPECT_EQ(guest->counters.staging.load(), 0u);
  EXPECT_EQ(guest.store().slots.in_use(), 128u) << "copies that were rescued need none";
  EXPECT_EQ(guest.wrong(), "");
}

}  // namespace
}  // namespace vmm
