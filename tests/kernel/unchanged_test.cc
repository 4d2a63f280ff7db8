// Where nothing can have changed the kernel is not asked page by page; what has changed is found all the same, whoever
// did it.
#include "sharing/unchanged.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "sharing/locked_pages.h"
#include "sharing/share_states.h"
#include "support/call_hook.h"
#include "support/sharing_rig.h"

namespace vmm::test {
namespace {

using region::PageState;

class UnchangedGuests : public SharingRig {
 protected:
  // Passes over the guests until one has asked nothing of their pages; not for ever, for the test's own threads may
  // have had faults.
  bool come_to_rest(const std::vector<RigGuest*>& guests) {
    pass(guests);
    for (int i = 0; i < 16; ++i) {
      CallHook hook;
      for (auto* guest : guests) look_at(*guest);
      if (hook.count(os::Call::pagemap_scan) + hook.count(os::Call::pagemap_read) == 0) return true;
    }
    return false;
  }
};
VMM_EACH_WAY(UnchangedGuests);

TEST_P(UnchangedGuests, AreNotAskedOf) {
  auto &a = add(), &b = add();
  for (auto* guest : {&a, &b}) {
    guest->fill();
    fill_common(*guest, 64, 64, 0);
  }
  // Who writes without a page fault is not found so: nothing is taken for unchanged.
  ASSERT_EQ(come_to_rest({&a, &b}), rig_->moves());
  EXPECT_EQ(count(a, PageState::shared), 64u);
  EXPECT_EQ(count(b, PageState::shared), 64u);
}

TEST_P(UnchangedGuests, WhatIsWrittenIsFound) {
  if (!rig_->moves()) GTEST_SKIP() << "pages are all looked at each time";
  auto &a = add(), &b = add();
  for (auto* guest : {&a, &b}) {
    guest->fill();
    fill_common(*guest, 64, 64, 0);
  }
  ASSERT_TRUE(come_to_rest({&a, &b}));
  fill_page(a.at(70), a->id(), 70, 9);  // showed a frame
  pass({&a, &b});
  EXPECT_EQ(a->counters.share.broken, 1u);
  ASSERT_TRUE(come_to_rest({&a, &b}));
  for (auto* guest : {&a, &b}) fill_common(*guest, 300, 1, 300);  // was the guest's own
  pass({&a, &b});
  EXPECT_EQ(a.state(300), PageState::shared);
  ASSERT_TRUE(come_to_rest({&a, &b}));
  std::memset(b.at(310), 0, kPageSize);
  pass({&a, &b});
  EXPECT_EQ(b.state(310), PageState::empty);
  expect_sums({&a, &b});
}

// A page that was isolated and put back is not protected any more: who writes there has no page fault.
TEST_P(UnchangedGuests, WhatWasPutBackIsFoundToBeWritten) {
  if (!rig_->moves()) GTEST_SKIP() << "pages are all looked at each time";
  auto &a = add(), &b = add();
  for (auto* guest : {&a, &b}) guest->fill();
  ASSERT_TRUE(come_to_rest({&a, &b}));
  for (auto* guest : {&a, &b}) {
    sharing::LockedPages::Words words;
    sharing::LockedPages page(guest->memory(), 5, words);
    ASSERT_TRUE(page.lock_next(sharing::may_be_shared));
    page.isolate();
    ASSERT_EQ(page.count(), 1u);
  }
  // The pages are not looked at before that: the fault of the first is seen, that of the second may not be needed.
  pass({&a, &b});
  for (auto* guest : {&a, &b}) fill_common(*guest, 5, 1, 5);
  pass({&a, &b});
  EXPECT_EQ(a.state(5), PageState::shared);
  EXPECT_EQ(b.state(5), PageState::shared);
}

// So is one that was read in from the swap file by itself.
TEST_P(UnchangedGuests, WhatWasReadInIsLookedAt) {
  if (!rig_->moves()) GTEST_SKIP() << "pages are all looked at each time";
  auto& guest = add();
  guest.fill();
  ASSERT_TRUE(come_to_rest({&guest}));
  rig_->settle(guest);
  rig_->evict(guest);
  ASSERT_EQ(count(guest, PageState::swapped), kPages);
  EXPECT_EQ(guest.wrong(), "");
  CallHook hook;
  pass({&guest});
  EXPECT_GT(hook.count(os::Call::pagemap_scan), 0u);
}

// A guest whose pages wait for a look is not at rest: they are pinned now, and may not be then, without any fault.
TEST_P(UnchangedGuests, PinnedPagesAreLookedAtWhenTheyMayBe) {
  if (!rig_->moves()) GTEST_SKIP() << "pages are all looked at each time";
  auto &a = add(), &b = add();
  for (auto* guest : {&a, &b}) {
    guest->fill();
    fill_common(*guest, 8, 1, 0);
  }
  ASSERT_TRUE(a.pins().pin(8, 1, kPages));
  EXPECT_FALSE(come_to_rest({&a, &b}));
  EXPECT_EQ(a.state(8), PageState::resident);
  a.pins().unpin(8, 1);
  pass({&a, &b});
  EXPECT_EQ(a.state(8), PageState::shared);
}

}  // namespace
}  // namespace vmm::test
