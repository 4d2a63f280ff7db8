#include "reclaim/swap_in.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>

#include "reclaim/discard.h"
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

// Reads ahead that come faster than one thread can copy them, some of them held by the helper while it copies.
class SwapInHelperTest : public SwapInTest {
 protected:
  static constexpr std::uint64_t kPages = 2048;

  void SetUp() override {
    SwapInTest::SetUp();
    if (IsSkipped()) return;
    rig.emplace(GetParam());
    test::RigGuestOptions options;
    options.pages = kPages;
    guest = &rig->add(options);
    guest->fill();
  }
  // The helper stands before it copies what it has taken. Whether two reads come at once is the device's matter, so
  // this is tried until they do.
  void hold_helper(test::CallHook& hook) {
    hook.hold(os::Call::uffd_copy, "vmm-place");
    const bool stands = test::eventually([&] {
      if (hook.held() == 1) return true;
      rig->faults().wait_prefetched(guest->memory());
      rig->evict(*guest);
      EXPECT_TRUE(rig->faults().prefetch(guest->memory(), 0, kPages));
      return test::eventually([&] { return hook.held() == 1 || resident() == kPages; }) && hook.held() == 1;
    });
    ASSERT_TRUE(stands) << "the fault thread has copied everything by itself";
  }
  std::uint64_t resident() { return test::resident_pages(guest->at(0), kPages); }
  // Pages of the one read that the helper has taken.
  std::uint64_t locked() {
    std::uint64_t count = 0;
    for (std::uint64_t page = 0; page < kPages; ++page) count += (*guest)->table.load(page).locked();
    return count;
  }

  // A page that it holds, once the fault thread has put in place all that it can.
  std::uint64_t page_of_helper() {
    EXPECT_TRUE(test::eventually([&] { return locked() <= 64 && resident() + locked() == kPages; }));
    std::uint64_t page = 0;
    while (!(*guest)->table.load(page).locked()) ++page;
    EXPECT_EQ(test::resident_pages(guest->at(page), 1), 0u);
    return page;
  }

  std::optional<NodeRig> rig;
  test::RigGuest* guest = nullptr;
};
VMM_ALL_BACK_ENDS(SwapInHelperTest);

TEST_P(SwapInHelperTest, NothingButItsOwnReadWaitsForAHelperThatIsLate) {
  test::CallHook hook;
  ASSERT_NO_FATAL_FAILURE(hold_helper(hook));
  EXPECT_TRUE(test::eventually([&] { return resident() >= kPages - 64; }));
  EXPECT_TRUE(test::eventually([&] { return locked() <= 64; }));
  EXPECT_EQ(resident() + locked(), kPages);
  hook.release();
  rig->faults().wait_prefetched(guest->memory());
  EXPECT_EQ(resident(), kPages);
  EXPECT_EQ(guest->wrong(), "");
  EXPECT_EQ((*guest)->counters.swapped.load(), 0u);
  EXPECT_EQ((*guest)->counters.resident.load(), kPages);
}

TEST_P(SwapInHelperTest, WhoTouchesAPageThatTheHelperHoldsGetsItThen) {
  test::CallHook hook;
  ASSERT_NO_FATAL_FAILURE(hold_helper(hook));
  const auto page = page_of_helper();
  const auto faults = (*guest)->counters.faults.load();
  std::string wrong = "not read";
  std::thread reader([&] { wrong = guest->wrong(page, page + 1, 1); });
  EXPECT_TRUE(test::eventually([&] { return (*guest)->counters.faults.load() > faults; }));
  hook.release();
  reader.join();
  EXPECT_EQ(wrong, "");
}

TEST_P(SwapInHelperTest, AGuestEndsOnlyWhenTheHelperHasLetGoOfIt) {
  test::CallHook hook;
  ASSERT_NO_FATAL_FAILURE(hold_helper(hook));
  auto& memory = guest->memory();
  std::atomic<bool> removed{false};
  std::thread remover([&] {
    rig->faults().remove(memory);
    removed = true;
  });
  EXPECT_TRUE(test::eventually([&] { return memory.closing.load(); }));
  // Another guest comes and goes: the fault thread has gone round since, and has not let go.
  rig->remove(rig->add());
  EXPECT_FALSE(removed.load());
  hook.release();
  remover.join();
  EXPECT_TRUE(removed.load());
}

TEST_P(SwapInHelperTest, APageThatIsDiscardedMeanwhileReadsAsZeros) {
  test::CallHook hook;
  ASSERT_NO_FATAL_FAILURE(hold_helper(hook));
  const auto page = page_of_helper();
  std::thread discarder([&] { EXPECT_TRUE(reclaim::discard(guest->memory(), guest->pins(), page, 1)); });
  hook.release();
  discarder.join();
  rig->faults().wait_prefetched(guest->memory());
  rig->settle(*guest);
  EXPECT_EQ(guest->state(page), PageState::empty);
  EXPECT_EQ(static_cast<int>(*reinterpret_cast<volatile std::uint8_t*>(guest->at(page))), 0);
  EXPECT_EQ(guest->wrong(page + 1, kPages, 1), "");
  EXPECT_EQ(guest->wrong(0, page, 1), "");
}

TEST_P(SwapInHelperTest, BadPagesStayWhereTheyAreWhoeverFindsThem) {
  test::CallHook hook;
  ASSERT_NO_FATAL_FAILURE(hold_helper(hook));
  ASSERT_TRUE(test::eventually([&] { return resident() >= kPages - 64; }));
  hook.release();
  rig->faults().wait_prefetched(guest->memory());
  rig->evict(*guest);
  auto& slots = guest->store().slots;
  for (std::uint64_t page = 7; page < kPages; page += 64) {
    const auto slot = (*guest)->table.load(page).slot();
    slots.set_checksum(slot, ~slots.checksum(slot));
  }
  ASSERT_TRUE(rig->faults().prefetch(guest->memory(), 0, kPages));
  rig->faults().wait_prefetched(guest->memory());
  for (std::uint64_t page = 0; page < kPages; ++page)
    ASSERT_EQ(guest->state(page), page % 64 == 7 ? PageState::swapped : PageState::resident) << page;
  EXPECT_EQ((*guest)->counters.swap_errors.load(), kPages / 64);
  EXPECT_EQ(resident(), kPages - kPages / 64);
}

}  // namespace
}  // namespace vmm
