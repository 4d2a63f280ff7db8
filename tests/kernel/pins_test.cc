#include "region/pins.h"

#include <string>

#include <gtest/gtest.h>

#include "support/kernel_view.h"
#include "support/node_rig.h"

namespace vmm {
namespace {

using region::PageState;
using test::NodeRig;

class PinsTest : public test::EachWay {};
VMM_EACH_WAY(PinsTest);

TEST_P(PinsTest, BringsPagesInFromEveryState) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill(0, 128, 1);
  rig.evict(guest);
  guest.fill(128, 192, 1);
  rig.park(guest);
  ASSERT_TRUE(guest.pins().pin(0, 256, 256));
  EXPECT_EQ(test::resident_pages(guest.at(0), 256), 256u);
  EXPECT_EQ(guest->counters.pinned.load(), 256u);
  rig.settle(guest);
  for (std::uint64_t page = 0; page < 256; ++page) {
    ASSERT_EQ(guest.state(page), PageState::resident) << page;
    ASSERT_TRUE(guest->table.load(page).pinned()) << page;
  }
  EXPECT_EQ(guest.wrong(0, 192, 1), "");
  EXPECT_TRUE(test::is_zero(guest.at(200)));
}

TEST_P(PinsTest, BeyondTheMostNothingIsPinned) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  ASSERT_TRUE(guest.pins().pin(0, 10, 16));
  const auto r = guest.pins().pin(8, 10, 16);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Errc::pin_limit);
  EXPECT_EQ(guest->counters.pinned.load(), 10u);
  EXPECT_FALSE(guest->table.load(12).pinned());
  EXPECT_TRUE(guest.pins().pin(8, 8, 16)) << "only pages not yet pinned count";
  EXPECT_EQ(guest->counters.pinned.load(), 16u);
}

TEST_P(PinsTest, OverlappingPinsAddUpInAnyOrder) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  const auto shown = [&] {
    std::string text;
    for (std::uint64_t page = 0; page < 12; ++page) text += guest->table.load(page).pinned() ? 'x' : '.';
    return text;
  };
  ASSERT_TRUE(guest.pins().pin(0, 8, 256));
  ASSERT_TRUE(guest.pins().pin(4, 8, 256));
  ASSERT_TRUE(guest.pins().pin(4, 8, 256));
  EXPECT_EQ(shown(), "xxxxxxxxxxxx");
  guest.pins().unpin(4, 8);
  EXPECT_EQ(shown(), "xxxxxxxxxxxx");
  guest.pins().unpin(0, 8);
  EXPECT_EQ(shown(), "....xxxxxxxx");
  EXPECT_EQ(guest->counters.pinned.load(), 8u);
  guest.pins().unpin(4, 8);
  EXPECT_EQ(shown(), "............");
  EXPECT_EQ(guest->counters.pinned.load(), 0u);
  guest.pins().unpin(4, 8);
  EXPECT_EQ(guest->counters.pinned.load(), 0u) << "what is not pinned is left alone";
}

TEST_P(PinsTest, KnowsWhichRangesItCovers) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  ASSERT_TRUE(guest.pins().pin(10, 5, 256));
  base::MutexLock lock(guest.pins().mutex());
  EXPECT_TRUE(guest.pins().any_locked(14, 1));
  EXPECT_TRUE(guest.pins().any_locked(0, 11));
  EXPECT_FALSE(guest.pins().any_locked(0, 10));
  EXPECT_FALSE(guest.pins().any_locked(15, 100));
}

}  // namespace
}  // namespace vmm
