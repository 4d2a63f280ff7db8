// When targets are computed: every balance_period, and when free memory has changed by 2 % of the budget. The host's
// time is the test's.
#include <chrono>
#include <cstdint>

#include <gtest/gtest.h>

#include "support/host_rig.h"

namespace vmm {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using test::HostRig;

class TargetTimes : public test::EachWay {
 protected:
  static void adjust(HostOptions& o) {
    o.memory = 512 * MiB;  // 2 % are 10.2 MiB
    o.sample_pages = 0;
    o.balance_period = std::chrono::hours(1);
  }
  static std::uint64_t held(const Guest& guest) { return guest.stats()->resident + guest.stats()->overhead; }
  // Memory is plentiful: the target is what the guest holds when it is computed.
  static bool computed(const Guest& guest) { return guest.stats()->target == held(guest); }
  // Until it holds so much more, and little beyond: zeros are filled ahead. Returns how much.
  std::uint64_t grow(const Guest& guest, std::uint64_t bytes) {
    const auto before = held(guest);
    for (; held(guest) < before + bytes; grown_ += kPageSize) guest.memory()[grown_] = std::byte{1};
    return held(guest) - before;
  }
  HostRig rig_{GetParam(), adjust};
  std::uint64_t grown_ = 0;
};
VMM_EACH_WAY(TargetTimes);

TEST_P(TargetTimes, ASmallChangeWaitsForThePeriod) {
  auto guest = rig_.add("g", 64 * MiB / kPageSize);
  grow(guest, 4 * MiB);
  rig_.tick(minutes(61));
  ASSERT_TRUE(computed(guest));
  for (const auto period : {minutes(60), minutes(20), minutes(90)}) {
    SCOPED_TRACE(period.count());
    ASSERT_TRUE(rig_.host().configure({.balance_period = milliseconds(period)}));
    // A change of settings has them computed, and a period has to pass for the next to begin.
    rig_.tick(period + minutes(1));
    ASSERT_TRUE(computed(guest));
    const auto target = guest.stats()->target;
    const auto grown = grow(guest, 1 * MiB);
    ASSERT_LT(grown, 10 * MiB) << "2 % of the budget";
    rig_.tick(minutes(1));
    EXPECT_EQ(guest.stats()->target, target);
    rig_.tick(period - minutes(5));
    EXPECT_EQ(guest.stats()->target, target) << "within the period";
    rig_.tick(minutes(5));
    EXPECT_EQ(guest.stats()->target, target + grown) << "after it";
  }
}

TEST_P(TargetTimes, AChangeOfTwoPercentDoesNot) {
  auto guest = rig_.add("g", 64 * MiB / kPageSize);
  rig_.tick(minutes(61));
  ASSERT_TRUE(computed(guest));
  const auto target = guest.stats()->target;
  grow(guest, 6 * MiB);
  ASSERT_LT(held(guest), target + 10 * MiB);
  rig_.tick();
  EXPECT_EQ(guest.stats()->target, target);
  grow(guest, 6 * MiB);
  ASSERT_GT(held(guest), target + 10 * MiB + 256 * KiB);
  rig_.tick();
  EXPECT_TRUE(computed(guest)) << "more than 2 % less is free";
  ASSERT_TRUE(guest.discard(0, grown_));
  rig_.tick();
  EXPECT_TRUE(computed(guest)) << "more than 2 % more is free";
}

}  // namespace
}  // namespace vmm
