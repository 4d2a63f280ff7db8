#include "region/guest_memory.h"

#include <cerrno>
#include <csignal>
#include <system_error>

#include <gtest/gtest.h>

#include "support/guarded_access.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"

namespace vmm {
namespace {

using region::PageState;
using test::NodeRig;

class GuestMemoryTest : public test::EachWay {
 protected:
  static test::RigGuestOptions native(std::uint64_t pages) {
    test::RigGuestOptions o;
    o.pages = pages;
    o.manage = false;
    return o;
  }
  static void manage(test::RigGuest& guest) {
    base::MutexLock lock(guest->control);
    const auto r = guest->manage();
    ASSERT_TRUE(r) << r.error().message();
  }
  static bool unmanage(test::RigGuest& guest) {
    base::MutexLock lock(guest->control);
    return guest->unmanage();
  }
};
VMM_EACH_WAY(GuestMemoryTest);

TEST_P(GuestMemoryTest, NativeMemoryCostsNoEventsAndIsNotCharged) {
  NodeRig rig(GetParam());
  auto& guest = rig.add(native(512));
  EXPECT_FALSE(guest->managed());
  guest.fill();
  EXPECT_EQ(guest.wrong(), "");
  EXPECT_EQ(guest->counters.faults.load(), 0u);
  EXPECT_EQ(rig.credit().charged(), 0u);
}

TEST_P(GuestMemoryTest, ManagingAdoptsExactlyWhatIsThere) {
  NodeRig rig(GetParam());
  auto& guest = rig.add(native(20000));
  for (std::uint64_t page = 0; page < 20000; page += 7) guest.fill(page, page + 1, 1);
  const auto there = test::resident_pages(guest.at(0), 20000);
  manage(guest);
  EXPECT_EQ(guest->counters.resident.load(), there);
  EXPECT_EQ(rig.credit().charged(), there);
  for (std::uint64_t page = 0; page < 20000; ++page)
    ASSERT_EQ(guest.state(page), page % 7 == 0 ? PageState::resident : PageState::native) << page;
  EXPECT_EQ(test::mappings_in(guest.at(0), 20000 * kPageSize), 1u) << "registered whole";
  manage(guest);
  EXPECT_EQ(rig.credit().charged(), there) << "idempotent";
}

TEST_P(GuestMemoryTest, BackToNativeIsWholeAndUncharges) {
  NodeRig rig(GetParam());
  auto& guest = rig.add(native(512));
  guest.fill(0, 100, 1);
  manage(guest);
  guest.fill(100, 200, 1);
  rig.settle(guest);
  EXPECT_TRUE(unmanage(guest));
  EXPECT_FALSE(guest->managed());
  EXPECT_EQ(rig.credit().charged(), 0u);
  for (std::uint64_t page = 0; page < 512; ++page) ASSERT_EQ(guest.state(page), PageState::native) << page;
  const auto faults = guest->counters.faults.load();
  guest.fill(200, 512, 1);
  EXPECT_EQ(guest->counters.faults.load(), faults);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(GuestMemoryTest, ForeignRegistrationIsAnErrorAndTheGuestStaysNative) {
  NodeRig rig(GetParam());
  auto& guest = rig.add(native(64));
  guest.fill();
  auto foreign = os::Userfaultfd::open({});
  ASSERT_TRUE(foreign) << foreign.error().message();
  ASSERT_EQ(foreign->register_range(guest.at(0), 64 * kPageSize, false), 0);
  {
    base::MutexLock lock(guest->control);
    const auto r = guest->manage();
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, std::error_code(EBUSY, std::generic_category()));
  }
  EXPECT_FALSE(guest->managed());
  ASSERT_EQ(foreign->unregister_range(guest.at(0), 64 * kPageSize), 0);
  manage(guest);
  rig.evict(guest);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(GuestMemoryTest, ChargesRespectTheLimit) {
  NodeRig rig(GetParam());
  test::RigGuestOptions options;
  options.limit_pages = 10;
  auto& guest = rig.add(options);
  EXPECT_TRUE(guest->try_charge(10));
  EXPECT_FALSE(guest->try_charge(1));
  EXPECT_TRUE(guest->over_limit(1));
  EXPECT_EQ(rig.credit().charged(), 10u);
  guest->uncharge(10);
  EXPECT_EQ(rig.credit().charged(), 0u);
}

TEST_P(GuestMemoryTest, RefusedPagesGetASignalAndTheOthersDoNot) {
  test::CatchSignals catcher;
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  const int expected = probe().has("poison") ? SIGBUS : SIGSEGV;
  guest->refuse(5);
  EXPECT_EQ(test::try_read(guest.at(5)).signal, expected);
  guest->refuse(5);
  EXPECT_EQ(test::try_read(guest.at(5)).signal, expected) << "a second time";
  // Over a write-protect marker.
  ASSERT_EQ(guest->uffd().write_protect(guest.at(6), kPageSize, true), 0);
  guest->refuse(6);
  EXPECT_EQ(test::try_read(guest.at(6)).signal, expected);
  EXPECT_EQ(test::try_read(guest.at(4)).signal, 0);
  EXPECT_EQ(test::try_read(guest.at(7)).signal, 0);
}

TEST_P(GuestMemoryTest, MetadataIsUnderHalfAPercent) {
  NodeRig rig(GetParam());
  auto& guest = rig.add(native(65536));
  const auto all = guest->metadata_bytes() + guest.store().metadata_bytes();
  EXPECT_LE(all * 200, 65536 * kPageSize);
}

TEST_P(GuestMemoryTest, HeatGoesUpAndDownWithinItsBounds) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  EXPECT_EQ(guest->heat(0), 0);
  guest->cool(0);
  EXPECT_EQ(guest->heat(0), 0);
  guest->warm(63, 2);
  guest->warm(63, 2);
  guest->warm(63, 2);
  EXPECT_EQ(guest->heat(0), 3);
  EXPECT_EQ(guest->heat(1), 0);
  guest->cool(0);
  EXPECT_EQ(guest->heat(0), 2);
}

}  // namespace
}  // namespace vmm
