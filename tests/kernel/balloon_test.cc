// The balloon with a guest's memory, and an application that allocates from a PageListDriver.
#include "host/balloon.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support/eventually.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"
#include "vmm/page_list_driver.h"

namespace vmm {
namespace {

using host::Balloon;
using host::MemoryBalloonGuest;
using test::NodeRig;

constexpr base::Nanos kTimeout = std::chrono::seconds(60);

class BalloonLive : public test::EachWay {};
VMM_EACH_WAY(BalloonLive);

void settle(Balloon& balloon, base::Nanos now) {
  EXPECT_TRUE(test::eventually([&] { return !balloon.busy(); }));
  balloon.poll(now, kTimeout);
}

TEST_P(BalloonLive, FreesMemoryUpToItsMostAndGivesItBack) {
  NodeRig rig(GetParam());
  test::RigGuestOptions options;
  options.pages = 4096;
  auto& guest = rig.add(options);
  guest.fill();
  rig.settle(guest);
  const auto driver = std::make_shared<PageListDriver>();
  ASSERT_TRUE(driver->add_free(1024 * kPageSize, 3072 * kPageSize));
  MemoryBalloonGuest memory(guest.memory());
  Balloon balloon(memory);
  ASSERT_TRUE(balloon.set_driver(driver));
  base::Nanos now{1};
  EXPECT_EQ(balloon.inflate(1000, now), 0u) << "it may hold none";
  memory.set_most(2500);
  EXPECT_EQ(balloon.inflate(1000, now), 1000u);
  settle(balloon, now);
  EXPECT_EQ(test::resident_pages(guest.at(0), 4096), 3096u);
  EXPECT_EQ(rig.credit().charged(), 3096u);
  EXPECT_EQ(balloon.inflate(3000, now), 1500u);
  settle(balloon, now);
  EXPECT_EQ(guest->counters.ballooned.load(), 2500u);
  EXPECT_EQ(test::resident_pages(guest.at(0), 4096), 1596u);
  EXPECT_EQ(driver->given_bytes(), 2500 * kPageSize);
  EXPECT_EQ(guest.wrong(0, 1596, 1), "");
  ASSERT_TRUE(balloon.deflate(4096, now));
  settle(balloon, now);
  EXPECT_EQ(guest->counters.ballooned.load(), 0u);
  EXPECT_EQ(driver->free_bytes(), 3072 * kPageSize);
  EXPECT_TRUE(test::is_zero(guest.at(4000)));
  EXPECT_EQ(guest->counters.balloon_popped.load() + guest->counters.balloon_refused.load(), 0u);
  balloon.end();
}

// What the application has allocated is its own, however the balloon moves.
TEST_P(BalloonLive, AllocatedPagesKeepWhatIsWrittenToThem) {
  NodeRig rig(GetParam());
  test::RigGuestOptions options;
  options.pages = 512;
  auto& guest = rig.add(options);
  const auto driver = std::make_shared<PageListDriver>();
  ASSERT_TRUE(driver->add_free(0, 512 * kPageSize));
  MemoryBalloonGuest memory(guest.memory());
  memory.set_most(480);
  Balloon balloon(memory);
  ASSERT_TRUE(balloon.set_driver(driver));
  std::vector<std::string> wrong(2);
  std::vector<std::thread> users;
  std::atomic<int> running{2};
  for (std::size_t t = 0; t < 2; ++t)
    users.emplace_back([&, t] {
      for (std::uint64_t i = 1; i <= 1500 && wrong[t].empty(); ++i) {
        const auto pages = 1 + i % 20;
        const auto offset = driver->allocate(pages * kPageSize);
        if (!offset) continue;
        const auto first = *offset / kPageSize;
        guest.fill(first, first + pages, i);
        if (i % 8 == 0) std::this_thread::yield();
        wrong[t] = guest.wrong(first, first + pages, i);
        if (!driver->add_free(*offset, pages * kPageSize)) wrong[t] += "add_free";
      }
      --running;
    });
  for (base::Nanos now{1}; running > 0; now += std::chrono::seconds(61)) {
    balloon.inflate(200, now);
    settle(balloon, now);
    balloon.deflate(50, now);
    settle(balloon, now);
  }
  for (auto& u : users) u.join();
  EXPECT_EQ(wrong[0] + wrong[1], "");
  balloon.end();
  rig.settle(guest);
  EXPECT_GT(guest->counters.ballooned_out.load(), 0u);
  EXPECT_EQ(guest->counters.resident.load(), test::resident_pages(guest.at(0), 512));
  EXPECT_EQ(driver->free_bytes() + driver->given_bytes(), 512 * kPageSize);
}

}  // namespace
}  // namespace vmm
