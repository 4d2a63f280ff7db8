#include "policy/active_memory.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/random.h"

namespace vmm::policy {
namespace {

constexpr std::uint64_t kGuest = 262144;  // pages: 1 GiB

ActiveSample sample_of(double f) { return {100, static_cast<std::uint64_t>(std::lround(f * 100))}; }

ActiveHistory settled_at(double f) {
  ActiveHistory h;
  for (int i = 0; i < 20; ++i) h = next(h, sample_of(f));
  return h;
}

TEST(ActiveMemory, EverythingCountsUntilTheFirstWholePeriod) {
  const auto none = estimate({}, {}, kGuest);
  EXPECT_FALSE(none.sampled);
  EXPECT_EQ(none.fraction, 1.0);
  // A period under way is not a whole one.
  EXPECT_EQ(estimate({}, {100, 3}, kGuest).fraction, 1.0);
  const auto first = estimate(next({}, {100, 3}), {}, kGuest);
  EXPECT_TRUE(first.sampled);
  EXPECT_DOUBLE_EQ(first.fraction, 0.03);
}

TEST(ActiveMemory, UseIsBelievedWithinThePeriod) {
  for (const double from : {0.0, 0.05, 0.4})
    for (int to = 5; to <= 100; to += 5) {
      const double f = to / 100.0;
      if (f < from) continue;
      auto h = settled_at(from);
      EXPECT_GE(estimate(h, sample_of(f), kGuest).fraction, f) << "by the running sample";
      h = next(h, sample_of(f));
      EXPECT_NEAR(estimate(h, {100, 0}, kGuest).fraction, f, 0.05) << "and when the next one has only begun";
    }
}

TEST(ActiveMemory, IdlenessIsBelievedWithinThreePeriodsAndNotAtOnce) {
  for (int to = 0; to < 100; to += 5) {
    const double f = to / 100.0;
    auto h = settled_at(1);
    h = next(h, sample_of(f));
    EXPECT_GT(estimate(h, {}, kGuest).fraction, f + (1 - f) * 0.2) << "one quiet period is not believed at once";
    for (int i = 0; i < 2; ++i) h = next(h, sample_of(f));
    EXPECT_NEAR(estimate(h, {}, kGuest).fraction, f, 0.05) << f;
    EXPECT_GE(estimate(h, {}, kGuest).fraction, f);
  }
}

TEST(ActiveMemory, TheRunningSampleNeverLowersTheEstimate) {
  const auto h = settled_at(0.5);
  for (std::uint64_t touched = 0; touched <= 100; ++touched)
    EXPECT_DOUBLE_EQ(estimate(h, {100, touched}, kGuest).fraction,
                     std::max(0.5, static_cast<double>(touched) / 100)) << touched;
}

TEST(ActiveMemory, ASampleOfNoPagesSaysNothing) {
  const auto h = settled_at(0.3);
  const auto same = next(h, {0, 0});
  EXPECT_EQ(same.periods, h.periods);
  EXPECT_EQ(same.slow, h.slow);
  EXPECT_EQ(same.last, h.last);
  EXPECT_FALSE(estimate(next({}, {}), {}, kGuest).sampled);
}

TEST(ActiveMemory, StandardErrorIsThatOfSamplingWithoutReplacement) {
  EXPECT_NEAR(standard_error(0.5, 100, kGuest), 0.05, 1e-4) << "the worst case at 100 pages";
  EXPECT_LE(standard_error(0.5, 100, kGuest), 0.05);
  EXPECT_NEAR(standard_error(0.1, 100, kGuest), 0.03, 1e-4);
  EXPECT_EQ(standard_error(0, 100, kGuest), 0.0);
  EXPECT_EQ(standard_error(1, 100, kGuest), 0.0);
  EXPECT_EQ(standard_error(0.5, 100, 100), 0.0) << "every page was watched";
  EXPECT_EQ(standard_error(0.5, 1, 1), 0.0);
  EXPECT_EQ(standard_error(0.5, 0, kGuest), 1.0) << "nothing is known";
  EXPECT_NEAR(standard_error(0.5, 100, 200), 0.05 * std::sqrt(100.0 / 199), 1e-12);
  // As measured: 20 000 samples of 50 out of 100, 30 of them active, drawn without replacement.
  base::Random random(7);
  double sum = 0, squares = 0;
  constexpr int kDraws = 20'000;
  for (int draw = 0; draw < kDraws; ++draw) {
    int left = 100, active = 30, touched = 0;
    for (int i = 0; i < 50; ++i, --left)
      if (random.below(static_cast<std::uint64_t>(left)) < static_cast<std::uint64_t>(active)) --active, ++touched;
    const double f = touched / 50.0;
    sum += f;
    squares += f * f;
  }
  const double deviation = std::sqrt(squares / kDraws - (sum / kDraws) * (sum / kDraws));
  EXPECT_NEAR(standard_error(0.3, 50, 100), deviation, 0.001);
}

TEST(ActiveMemory, ErrorIsOfTheLastWholeSample) {
  const auto h = next(settled_at(0.9), {100, 20});
  EXPECT_DOUBLE_EQ(estimate(h, {100, 50}, kGuest).error, standard_error(0.2, 100, kGuest));
}

// The average over many noisy periods is near the truth: the largest of three noisy figures is a little above it.
TEST(ActiveMemory, SteadyGuestIsEstimatedNearTheTruth) {
  base::Random random(11);
  for (const double f : {0.1, 0.5, 0.9}) {
    auto h = settled_at(f);
    double sum = 0;
    for (int i = 0; i < 1000; ++i) {
      ActiveSample s{100, 0};
      for (int k = 0; k < 100; ++k) s.touched += random.unit() < f ? 1 : 0;
      h = next(h, s);
      sum += estimate(h, {}, kGuest).fraction;
    }
    EXPECT_NEAR(sum / 1000, f, 0.03) << f;
    EXPECT_GE(sum / 1000, f);
  }
}

}  // namespace
}  // namespace vmm::policy
