#include "policy/hybrid_poll.h"

#include <gtest/gtest.h>

namespace vmm::policy {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST(HybridPoll, LooksTwiceAsLongAsTheDeviceUsuallyTakes) {
  HybridPoll poll;
  for (int i = 0; i < 100; ++i) poll.came(microseconds(80), true);
  EXPECT_GT(poll.begin(), microseconds(150));
  EXPECT_LE(poll.begin(), microseconds(160));
}

TEST(HybridPoll, SleepsAtOnceOnASlowDeviceUntilItIsFastAgain) {
  HybridPoll poll;
  for (int i = 0; i < 100; ++i) poll.came(milliseconds(5), false);
  EXPECT_EQ(poll.begin(), microseconds(0));
  for (int i = 0; i < 100; ++i) poll.came(microseconds(60), false);
  EXPECT_GT(poll.begin(), microseconds(60));
}

TEST(HybridPoll, OneSlowCompletionDoesNotEndIt) {
  HybridPoll poll;
  for (int i = 0; i < 100; ++i) poll.came(microseconds(50), true);
  poll.came(std::chrono::seconds(2), false);
  for (int i = 0; i < 20; ++i) poll.came(microseconds(50), false);
  EXPECT_GT(poll.begin(), microseconds(0));
}

// Waits that do not look after the n-th look in a row that was in somebody's way.
std::uint32_t rest_after(int disturbances) {
  HybridPoll poll;
  std::uint32_t rest = 0;
  for (int i = 0; i < disturbances; ++i) {
    EXPECT_TRUE(poll.disturbs(milliseconds(1)));
    for (rest = 0; poll.begin().count() == 0; ++rest) continue;
  }
  return rest;
}

TEST(HybridPoll, RestsLongerEachTimeSomebodyWantsTheProcessor) {
  EXPECT_FALSE(HybridPoll().disturbs(microseconds(1)));
  EXPECT_EQ(rest_after(1), HybridPoll::kShortestRest);
  EXPECT_EQ(rest_after(3), 4 * HybridPoll::kShortestRest);
  EXPECT_EQ(rest_after(20), HybridPoll::kLongestRest);
}

TEST(HybridPoll, LooksOftenAgainAfterItWasAlone) {
  HybridPoll poll;
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(poll.disturbs(milliseconds(1)));
    while (poll.begin().count() == 0) continue;
  }
  for (int i = 0; i < 20; ++i) poll.came(microseconds(50), true);
  EXPECT_TRUE(poll.disturbs(milliseconds(1)));
  std::uint32_t rest = 0;
  for (; poll.begin().count() == 0; ++rest) continue;
  EXPECT_EQ(rest, HybridPoll::kShortestRest);
}

}  // namespace
}  // namespace vmm::policy
