#include "reclaim/discard.h"

#include <cerrno>
#include <system_error>

#include <gtest/gtest.h>

#include "support/call_hook.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"

namespace vmm {
namespace {

using region::PageState;
using test::NodeRig;

class DiscardTest : public test::EachWay {};
VMM_EACH_WAY(DiscardTest);

TEST_P(DiscardTest, FreesMemorySlotsAndCredit) {
  test::RigOptions short_reads;  // what is read ahead stays within what is discarded
  short_reads.batch_pages = 1;
  NodeRig rig(GetParam(), short_reads);
  test::RigGuestOptions options;
  options.pages = 2048;
  auto& guest = rig.add(options);
  guest.fill();
  rig.evict(guest);
  guest.fill(0, 1024, 2);
  rig.settle(guest);
  ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 512, 1024));
  EXPECT_EQ(rig.credit().charged(), 512u);
  EXPECT_EQ(guest->counters.resident.load(), 512u);
  EXPECT_EQ(test::resident_pages(guest.at(0), 2048), 512u);
  EXPECT_EQ(guest->counters.swapped.load(), 512u);
  EXPECT_EQ(guest.wrong(0, 512, 2) + guest.wrong(1536, 2048, 1), "");
}

TEST_P(DiscardTest, PinnedPagesRefuseTheWholeRange) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  ASSERT_TRUE(guest.pins().pin(100, 1, 256));
  const auto r = reclaim::discard(guest.memory(), guest.pins(), 0, 256);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Errc::pages_pinned);
  EXPECT_EQ(guest.wrong(), "") << "nothing was discarded";
  EXPECT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 101, 155));
}

TEST_P(DiscardTest, WhereTheKernelRefusesThePagesAreAsTheyWere) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.settle(guest);
  {
    test::CallHook hook;
    hook.fail(os::Call::madvise, ENOMEM);
    const auto r = reclaim::discard(guest.memory(), guest.pins(), 0, 128);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, std::error_code(ENOMEM, std::generic_category()));
  }
  EXPECT_EQ(guest.wrong(), "");
  EXPECT_EQ(guest->counters.resident.load(), 256u);
  ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 0, 128));
  EXPECT_EQ(guest->counters.resident.load(), 128u);
}

TEST_P(DiscardTest, WaitsForReadsInFlight) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  for (std::uint64_t round = 1; round <= 20; ++round) {
    guest.fill(round);
    rig.evict(guest);
    ASSERT_TRUE(rig.faults().prefetch(guest.memory(), 0, 256));
    ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 64, 128));
    rig.faults().wait_prefetched(guest.memory());
    for (std::uint64_t page = 64; page < 192; ++page) ASSERT_TRUE(test::is_zero(guest.at(page))) << page;
    EXPECT_EQ(guest.wrong(0, 64, round) + guest.wrong(192, 256, round), "");
  }
}

}  // namespace
}  // namespace vmm
