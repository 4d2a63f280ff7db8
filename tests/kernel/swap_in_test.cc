#include "reclaim/swap_in.h"

#include <gtest/gtest.h>

#include "support/call_hook.h"
#include "support/eventually.h"
#include "support/guarded_access.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"

namespace vmm {
namespace {

using region::PageState;
using test::NodeRig;
using test::try_read;

class SwapInTest : public test::BackEnds {};
VMM_ALL_BACK_ENDS(SwapInTest);

TEST_P(SwapInTest, SequentialReadsAreFewAndLong) {
  NodeRig rig(GetParam());
  test::RigGuestOptions options;
  options.pages = 1024;
  auto& guest = rig.add(options);
  guest.fill();
  rig.evict(guest);
  test::CallHook hook;
  EXPECT_EQ(guest.wrong(), "");
  EXPECT_LE(hook.count(rig.read_call()), 64u);
  EXPECT_TRUE(test::eventually([&] { return guest->counters.swapped_in.load() == 1024; }));
  EXPECT_EQ(guest->counters.resident.load(), 1024u);
  EXPECT_EQ(guest->counters.swapped.load(), 0u);
}

TEST_P(SwapInTest, ScatteredReadsBringOnePageEach) {
  NodeRig rig(GetParam());
  test::RigGuestOptions options;
  options.pages = 1024;
  auto& guest = rig.add(options);
  guest.fill();
  rig.evict(guest);
  for (std::uint64_t i = 0; i < 30; ++i) {
    const auto page = i * 397 % 1024;
    EXPECT_EQ(guest.wrong(page, page + 1, 1), "");
  }
  rig.settle(guest);
  EXPECT_TRUE(test::eventually([&] { return guest->counters.swapped_in.load() == 30; }));
  EXPECT_EQ(test::resident_pages(guest.at(0), 1024), 30u);
}

TEST_P(SwapInTest, PageComesCleanAndShowsWhenItIsWritten) {
  test::RigOptions one;
  one.batch_pages = 1;
  NodeRig rig(GetParam(), one);
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  try_read(guest.at(100));
  rig.settle(guest);
  std::uint8_t bits = 0;
  ASSERT_EQ(rig.pagemap().bits(guest.at(100), 1, &bits), 0);
  EXPECT_TRUE(bits & os::kPresent);
  EXPECT_FALSE(bits & os::kWritten);
  EXPECT_TRUE(guest->table.load(100).has_slot());
  guest.fill(100, 101, 2);
  ASSERT_EQ(rig.pagemap().bits(guest.at(100), 1, &bits), 0);
  EXPECT_TRUE(bits & os::kWritten);
  rig.evict(guest);
  EXPECT_EQ(guest.wrong(100, 101, 2), "");
}

TEST_P(SwapInTest, NothingIsReadAheadWhileMemoryIsShort) {
  test::RigOptions options;
  options.low_free_pages = options.budget_pages;
  NodeRig rig(GetParam(), options);
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  for (std::uint64_t page = 0; page < 5; ++page) EXPECT_EQ(guest.wrong(page, page + 1, 1), "");
  rig.settle(guest);
  // What a fault reads in one go is allowed, what would lie ahead of it is not.
  EXPECT_LT(guest->counters.resident.load(), 64u);
}

TEST_P(SwapInTest, PrefetchBringsTheRangeAndNothingElse) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  ASSERT_TRUE(rig.faults().prefetch(guest.memory(), 32, 96));
  rig.faults().wait_prefetched(guest.memory());
  rig.settle(guest);
  for (std::uint64_t page = 0; page < 256; ++page)
    EXPECT_EQ(guest.state(page), page >= 32 && page < 96 ? PageState::resident : PageState::swapped) << page;
  EXPECT_EQ(test::resident_pages(guest.at(32), 64), 64u);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(SwapInTest, CreditIsTakenForWhatComesAndNotForMore) {
  test::RigOptions options;
  options.budget_pages = 256;
  NodeRig rig(GetParam(), options);
  test::RigGuestOptions guest_options;
  guest_options.pages = 512;
  auto& guest = rig.add(guest_options);
  guest.fill(0, 200, 1);
  rig.evict(guest);
  // Downwards, so that no more than the pages touched are filled.
  for (std::uint64_t page = 400; page > 200; --page) guest.fill(page - 1, page, 1);
  rig.settle(guest);
  ASSERT_EQ(rig.credit().charged(), 200u);
  // 56 pages are left; reading 200 more would exceed the budget: reads shrink to what fits.
  for (std::uint64_t page = 0; page < 56; ++page) EXPECT_EQ(guest.wrong(page, page + 1, 1), "");
  rig.settle(guest);
  EXPECT_LE(rig.credit().charged(), 256u);
  EXPECT_EQ(test::resident_pages(guest.at(0), 512), guest->counters.resident.load());
}

}  // namespace
}  // namespace vmm
