#include "policy/watch.h"

#include <gtest/gtest.h>

namespace vmm::policy {
namespace {

using std::chrono::milliseconds;

TEST(Watch, ManagesBeforeTheThresholdOfReclaimIsReached) {
  struct Case {
    std::uint64_t budget;
    double min_free;
  };
  for (const auto& c : {Case{64 * MiB, 0.06}, Case{GiB, 0.06}, Case{64 * GiB, 0.06}, Case{GiB, 0.5}, Case{GiB, 0.0}}) {
    const auto keep = static_cast<std::uint64_t>(c.min_free * static_cast<double>(c.budget));
    const auto growth = fastest_growth(2);
    EXPECT_GE(manage_below(c.budget, c.min_free, growth), keep + keep / 4) << c.budget << " " << c.min_free;
    EXPECT_LE(manage_below(c.budget, c.min_free, growth), std::max(keep + keep / 4, keep + late_growth(growth)));
  }
  EXPECT_EQ(manage_below(GiB, 0.06, fastest_growth(2)), 256 * MiB);
}

TEST(Watch, ThereIsRoomToBeLateInWhereverItWatches) {
  for (const std::uint64_t processors : {1u, 2u, 16u, 64u}) {
    const auto growth = fastest_growth(processors);
    std::uint64_t smallest = 0;
    for (std::uint64_t budget = 64 * MiB; budget <= 64 * GiB && smallest == 0; budget += 64 * MiB)
      if (can_watch(budget, growth)) smallest = budget;
    ASSERT_NE(smallest, 0u);
    EXPECT_GE(manage_below(smallest, 0.06, growth), late_growth(growth)) << processors;
    EXPECT_FALSE(can_watch(smallest / 2, growth));
  }
}

TEST(Watch, LooksOftenEnoughForTheFastestGrowth) {
  const std::uint64_t manage_at = 256 * MiB;
  for (const std::uint64_t headroom : {20 * MiB, 100 * MiB, 900 * MiB}) {
    const auto period = watch_period(manage_at + headroom, manage_at, fastest_growth(2));
    const auto grown = static_cast<double>(period.count()) / 1e9 * static_cast<double>(fastest_growth(2));
    // A millisecond is the shortest period.
    EXPECT_LE(grown, std::max(static_cast<double>(headroom), static_cast<double>(fastest_growth(2)) / 1000) * 1.001)
        << headroom;
  }
}

TEST(Watch, PeriodHasBounds) {
  EXPECT_EQ(watch_period(0, GiB, fastest_growth(2)), milliseconds(1));
  EXPECT_EQ(watch_period(GiB, GiB, fastest_growth(2)), milliseconds(1));
  EXPECT_EQ(watch_period(100 * GiB, GiB, fastest_growth(2)), milliseconds(100));
  static_assert(watch_period(5, 10, fastest_growth(2)) == milliseconds(1));
}

}  // namespace
}  // namespace vmm::policy
