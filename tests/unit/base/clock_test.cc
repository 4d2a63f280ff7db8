#include "base/clock.h"

#include <gtest/gtest.h>

namespace vmm::base {
namespace {

Nanos monotonic() { return std::chrono::steady_clock::now().time_since_epoch(); }

TEST(ForwardClockTest, RunsWithTheMonotonicClock) {
  const ForwardClock clock;
  const auto before = monotonic();
  const auto now = clock.now();
  EXPECT_GE(now, before);
  EXPECT_LE(now, monotonic());
}

TEST(ForwardClockTest, GoesAheadAndNeverBack) {
  ForwardClock clock;
  const auto later = clock.now() + std::chrono::hours(1);
  EXPECT_EQ(clock.advance_to(later), later);
  const auto now = clock.now();
  EXPECT_GE(now, later);
  EXPECT_GE(clock.advance_to(later - std::chrono::minutes(30)), now) << "a time that has passed is the present";
  EXPECT_GE(clock.advance_to({}), now);
  const auto end = clock.now();
  EXPECT_LE(end, monotonic() + std::chrono::hours(1)) << "and leaves the clock as it is";
}

}  // namespace
}  // namespace vmm::base
