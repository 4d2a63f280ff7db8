#include "region/fault_service.h"

#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support/call_hook.h"
#include "support/eventually.h"
#include "support/guarded_access.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"

namespace vmm {
namespace {

using test::eventually;
using test::NodeRig;
using test::try_read;
using test::try_write;

class FaultServiceTest : public test::EachWay {};
VMM_EACH_WAY(FaultServiceTest);

TEST_P(FaultServiceTest, ReadsOfUntouchedMemoryCostNoMemory) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  for (std::uint64_t page = 0; page < 256; ++page) ASSERT_TRUE(test::is_zero(guest.at(page)));
  EXPECT_EQ(test::smaps_bytes(guest.at(0), 256 * kPageSize, "Rss"), 0u);
  guest.fill(7, 8, 1);
  EXPECT_EQ(test::smaps_bytes(guest.at(0), 256 * kPageSize, "Rss"), kPageSize);
  rig.evict(guest);
  EXPECT_EQ(guest.wrong(7, 8, 1), "");
}

TEST_P(FaultServiceTest, SequentialTouchesAreFewFaults) {
  test::RigOptions options;
  options.roomy_free_pages = 0;
  NodeRig rig(GetParam(), options);
  test::RigGuestOptions large;
  large.pages = 8192;
  auto& guest = rig.add(large);
  guest.fill();
  EXPECT_LE(guest->counters.faults.load(), 32u);
  EXPECT_EQ(guest->counters.resident.load(), 8192u);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(FaultServiceTest, ScatteredTouchesWithoutRoomBringOnePageEach) {
  NodeRig rig(GetParam());
  test::RigGuestOptions large;
  large.pages = 8192;
  auto& guest = rig.add(large);
  for (std::uint64_t i = 0; i < 100; ++i) guest.fill(i * 3571 % 8192, i * 3571 % 8192 + 1, 1);
  rig.settle(guest);
  EXPECT_EQ(guest->counters.resident.load(), 100u);
  EXPECT_EQ(test::resident_pages(guest.at(0), 8192), 100u);
  EXPECT_EQ(rig.credit().charged(), 100u);
}

TEST_P(FaultServiceTest, FirstTouchWithRoomIsAHugePageZeroedAhead) {
  test::RigOptions options;
  options.roomy_free_pages = 0;
  options.zero_pool = true;
  NodeRig rig(GetParam(), options);
  test::RigGuestOptions large;
  large.pages = 1024;
  large.large_pages = true;
  auto& guest = rig.add(large);
  if (rig.zero_pool() == nullptr) {
    guest.fill();
    EXPECT_EQ(guest.wrong(), "");
    return;
  }
  ASSERT_TRUE(rig.zero_pool()->refill());
  guest.fill(0, 512, 1);
  EXPECT_EQ(guest->counters.faults.load(), 1u);
  EXPECT_GT(rig.zeros_wanted_calls(), 0u);
  if (probe().has("transparent_huge_pages")) {
    EXPECT_EQ(test::smaps_bytes(guest.at(0), 1024 * kPageSize, "AnonHugePages"), kHugePageSize);
  }
  // None is ready: the fault asks for one, is told that there will be none, and goes on with small pages.
  guest.fill(512, 1024, 1);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(FaultServiceTest, ShortMemoryIsToldBeforeItIsGone) {
  test::RigOptions options;
  options.budget_pages = 300;
  options.low_free_pages = 100;
  NodeRig rig(GetParam(), options);
  auto& guest = rig.add();
  // Downwards, so that no more than the pages touched are filled.
  for (std::uint64_t page = 256; page > 76; --page) guest.fill(page - 1, page, 1);
  rig.settle(guest);
  EXPECT_EQ(rig.memory_wanted_calls(), 0u);
  for (std::uint64_t page = 76; page > 0; --page) guest.fill(page - 1, page, 1);
  EXPECT_TRUE(eventually([&] { return rig.memory_wanted_calls() > 0; }));
  EXPECT_EQ(guest->counters.stalls.load(), 0u);
}

TEST_P(FaultServiceTest, GuestAtItsLimitWaitsAndOthersDoNot) {
  NodeRig rig(GetParam());
  test::RigGuestOptions limited;
  limited.limit_pages = 16;
  auto& guest = rig.add(limited);
  auto& other = rig.add();
  guest.fill(0, 16, 1);
  std::atomic<bool> written{false};
  std::thread waiter([&] {
    guest.fill(100, 101, 1);
    written = true;
  });
  ASSERT_TRUE(eventually([&] { return guest->counters.stalls.load() == 1; }));
  other.fill();
  rig.evict(other);
  EXPECT_EQ(other.wrong(), "");
  EXPECT_EQ(guest->counters.resident.load(), 16u);
  // Pages of its own leave; the wait ends.
  EXPECT_TRUE(eventually([&] {
    rig.park(guest);
    rig.write(guest);
    return written.load();
  }));
  waiter.join();
  rig.evict(guest);
  EXPECT_EQ(guest.wrong(0, 16, 1), "");
}

TEST_P(FaultServiceTest, WriteToAProtectedPageGoesOn) {
  test::RigOptions one;
  one.batch_pages = 1;
  NodeRig rig(GetParam(), one);
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  for (std::uint64_t page = 0; page < 64; ++page) {
    ASSERT_EQ(guest.wrong(page, page + 1, 1), "");
    ASSERT_EQ(try_write(guest.at(page), page + 1000).signal, 0);
    ASSERT_EQ(try_read(guest.at(page)).value, page + 1000);
  }
}

TEST_P(FaultServiceTest, RemoveAndAddWhileOthersFault) {
  NodeRig rig(GetParam());
  auto& steady = rig.add();
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> bad{0}, rounds{0};
  std::thread toucher([&] {
    for (std::uint64_t i = 0; !over; ++i, ++rounds) {
      steady.fill(i % 256, i % 256 + 1, i);
      bad += steady.wrong(i % 256, i % 256 + 1, i).empty() ? 0 : 1;
    }
  });
  for (int i = 0; i < 30; ++i) {
    auto& guest = rig.add();
    guest.fill(0, 64, 1);
    EXPECT_EQ(guest.wrong(0, 64, 1), "");
    rig.remove(guest);
    rig.evict(steady);
  }
  EXPECT_TRUE(eventually([&] { return rounds > 100; }));
  over = true;
  toucher.join();
  EXPECT_EQ(bad, 0u);
}

TEST_P(FaultServiceTest, ProgressShowsThePageBeingAnswered) {
  test::CallHook hook;
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  EXPECT_EQ(rig.faults().progress().address, 0u);
  hook.hold(os::Call::uffd_copy, "vmm-fault");
  std::thread writer([&] { guest.fill(9, 10, 1); });
  ASSERT_TRUE(eventually([&] { return hook.held() == 1; }));
  EXPECT_EQ(rig.faults().progress().address, reinterpret_cast<std::uintptr_t>(guest.at(9)));
  const auto answered = rig.faults().progress().answered;
  hook.release();
  writer.join();
  EXPECT_TRUE(eventually([&] {
    return rig.faults().progress().answered > answered && rig.faults().progress().address == 0;
  }));
}

}  // namespace
}  // namespace vmm
