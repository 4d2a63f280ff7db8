// Changes of a host that runs: a change is refused for what it asks for, not for what was short before it; and targets
// keep their period.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "support/eventually.h"
#include "support/host_rig.h"

namespace vmm {
namespace {

using namespace std::chrono_literals;
using test::HostRig;

class LiveChanges : public test::EachWay {};
VMM_EACH_WAY(LiveChanges);

std::string error_of(const Result<void>& r) { return r ? "" : r.error().message(); }

// Seats cost a page each, which nobody asks admission for.
void expect_changes(Host& host, Guest& reserved) {
  EXPECT_EQ(error_of(reserved.configure({.shares = Shares::high()})), "");
  const auto lower = reserved.stats()->reservation - 2 * MiB;
  EXPECT_EQ(error_of(reserved.configure({.reservation = lower})), "");
  EXPECT_EQ(error_of(reserved.configure({.idle_tax = .3})), "");
  EXPECT_EQ(error_of(host.configure({.idle_tax = .5})), "");
  EXPECT_EQ(error_of(host.configure({.balloon_max_percent = 10})), "");
  EXPECT_EQ(error_of(host.create_pool("/empty", {})), "");
  EXPECT_EQ(error_of(host.configure_pool("/empty", {.shares = Shares::low()})), "");
  EXPECT_EQ(error_of(host.remove_pool("/empty")), "");
}

TEST_P(LiveChanges, WhatIsPinnedLeavesRoomForWhatIsReserved) {
  HostRig rig(GetParam());
  auto& host = rig.host();
  auto o = guest_options("reserved", 64 * MiB);
  o.reservation = 60 * MiB;
  auto reserved = host.create_guest(o), pinning = host.create_guest(guest_options("pinning", 64 * MiB));
  ASSERT_TRUE(reserved && pinning);
  // As much as it gets: what could still be reserved, and no more.
  std::vector<Pin> pins;
  for (std::uint64_t at = 0; at < 64 * MiB; at += MiB) {
    auto pin = pinning->pin(at, MiB);
    if (!pin) break;
    pins.push_back(std::move(*pin));
  }
  EXPECT_GT(pins.size(), 4u);
  EXPECT_LT(pins.size(), 60u);
  EXPECT_FALSE(reserved->configure({.reservation = 64 * MiB}));
  expect_changes(host, *reserved);
}

TEST_P(LiveChanges, SeatsDoNotStandInTheirWay) {
  HostRig rig(GetParam());
  auto& host = rig.host();
  auto o = guest_options("reserved", 124 * MiB);
  auto reserved = host.create_guest(o);
  ASSERT_TRUE(reserved) << reserved.error().message();
  // All that can be reserved, to the page.
  std::uint64_t low = 0, high = o.memory / kPageSize;
  while (low + 1 < high) {
    const auto middle = (low + high) / 2;
    (reserved->configure({.reservation = middle * kPageSize}) ? low : high) = middle;
  }
  ASSERT_LT(high, o.memory / kPageSize);
  std::thread([&] {
    auto seat = reserved->attach_current_thread(Attach::measure_only);
    ASSERT_TRUE(seat) << seat.error().message();
    EXPECT_FALSE(reserved->configure({.reservation = high * kPageSize}));
    expect_changes(host, *reserved);
  }).join();
}

// With nothing else to do for a minute.
TEST_P(LiveChanges, TheBalancePeriodIsKeptByAQuietHost) {
  HostRig rig(GetParam(), [](HostOptions& o) {
    o.scheduler = Scheduler::automatic;
    o.balance_period = 20ms;
    o.rebalance_period = 60s;
    o.sample_period = 3600s;
  });
  auto guest = rig.host().create_guest(guest_options("quiet", 16 * MiB));
  ASSERT_TRUE(guest);
  const auto target = [&] { return guest->stats()->target; };
  // Less than the 2 % of the budget that have targets computed at once.
  std::fill_n(guest->memory().data(), MiB, std::byte{1});
  EXPECT_TRUE(test::eventually([&] { return target() >= MiB; }, 30s)) << target();
}

}  // namespace
}  // namespace vmm
