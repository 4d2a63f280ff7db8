#include "policy/thread_weights.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace vmm::policy {
namespace {

std::vector<int> nice_of(const std::vector<WeighedGuest>& guests, double processors = 1) {
  std::vector<int> nice;
  for (const auto& weight : plan_thread_weights(guests, processors, 2)) nice.push_back(weight.nice);
  return nice;
}

TEST(ThreadWeights, NobodyIsWeighedWhereThereIsEnoughForAll) {
  EXPECT_EQ(nice_of({{1, 1, 1, 0, 0}, {1, 0.1, 1, 0, 0}}, 2), (std::vector<int>{0, 0}));
  EXPECT_TRUE(nice_of({}).empty());
}

TEST(ThreadWeights, AreThePartOfWhatIsWantedThatOneIsEntitledTo) {
  // Of 4 : 1, 0.8 : 0.2: a quarter of the weight is 6.2 steps of a quarter.
  EXPECT_EQ(nice_of({{1, 0.8, 0.8, 0, 0}, {1, 0.2, 0.2, 0, 0}}), (std::vector<int>{0, 6}));
  // Of equal shares, four threads to one: each of the four weighs a quarter.
  EXPECT_EQ(nice_of({{4, 0.5, 0.5, 0, 0}, {1, 0.5, 0.5, 0, 0}}), (std::vector<int>{6, 0}));
  // Who is entitled to all it wants is before those who are not.
  EXPECT_EQ(nice_of({{0.1, 0.1, 0.1, 0, 0}, {1, 0.45, 0.45, 0, 0}, {1, 0.45, 0.45, 0, 0}}),
            (std::vector<int>{0, 4, 4}));
}

TEST(ThreadWeights, ShareOfOneInSeventyIsTheLeast) {
  const auto nice = nice_of({{1, 0.999, 0.999, 0, 0}, {1, 0.001, 0.001, 0, 0}});
  EXPECT_EQ(nice, (std::vector<int>{0, kMostNice}));
  EXPECT_NEAR(weight_of_nice(kMostNice), 1 / 69.4, 1e-3);
  EXPECT_EQ(weight_of_nice(0), 1);
}

TEST(ThreadWeights, WhoIsBehindIsRoundedUp) {
  std::vector<WeighedGuest> guests = {{1, 0.5, 0.7, 0, 0}, {1, 0.5, 0.3, 0, 0}};
  const auto weights = plan_thread_weights(guests, 1, 2);
  EXPECT_NEAR(weights[0].behind, -0.4, 1e-3);
  EXPECT_NEAR(weights[1].behind, 0.4, 1e-3);
  EXPECT_EQ(weights[0].nice, 1);
  EXPECT_EQ(weights[1].nice, 0);
  // It adds up, to two steps at most.
  for (int i = 0; i < 100; ++i) {
    const auto next = plan_thread_weights(guests, 1, 2);
    for (std::size_t g = 0; g < guests.size(); ++g) guests[g].behind = next[g].behind;
  }
  EXPECT_EQ(guests[0].behind, -2);
  EXPECT_EQ(nice_of(guests), (std::vector<int>{4, 0}));
}

TEST(ThreadWeights, WhoIsOwedCountsAsEntitledToALittleMore) {
  const auto weights = plan_thread_weights({{1, 0.5, 0.5, 1e6, 0}, {1, 0.5, 0.5, -1e6, 0}}, 1, 2);
  EXPECT_NEAR(weights[0].behind, 2 * (0.55 - 0.5), 1e-3);
  EXPECT_NEAR(weights[1].behind, 2 * (0.45 - 0.5), 1e-3);
}

TEST(ThreadWeights, FiguresThatAreNoneCountAsNothing) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  for (const double bad : {nan, inf, -inf, -1.0}) {
    for (const auto& weight :
         plan_thread_weights({{bad, bad, bad, bad, bad}, {2, 1, 1, 0, 0}, {2, bad, 1, bad, bad}}, 1, bad)) {
      EXPECT_GE(weight.nice, 0);
      EXPECT_LE(weight.nice, kMostNice);
      EXPECT_TRUE(std::isfinite(weight.behind));
    }
  }
}

}  // namespace
}  // namespace vmm::policy
