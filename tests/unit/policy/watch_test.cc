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
    EXPECT_GE(manage_below(c.budget, c.min_free), keep + keep / 4) << c.budget << " " << c.min_free;
    EXPECT_LE(manage_below(c.budget, c.min_free), std::max(keep + keep / 4, keep + 512 * MiB));
  }
  EXPECT_EQ(manage_below(GiB, 0.06), 256 * MiB);
}

TEST(Watch, LooksOftenEnoughForTheFastestGrowth) {
  const std::uint64_t manage_at = 256 * MiB;
  for (const std::uint64_t headroom : {20 * MiB, 100 * MiB, 900 * MiB}) {
    const auto period = watch_period(manage_at + headroom, manage_at);
    const auto grown = static_cast<double>(period.count()) / 1e9 * static_cast<double>(kFastestGrowth);
    EXPECT_LE(grown, static_cast<double>(headroom) * 1.001) << headroom;
  }
}

TEST(Watch, PeriodHasBounds) {
  EXPECT_EQ(watch_period(0, GiB), milliseconds(1));
  EXPECT_EQ(watch_period(GiB, GiB), milliseconds(1));
  EXPECT_EQ(watch_period(100 * GiB, GiB), milliseconds(100));
  static_assert(watch_period(5, 10) == milliseconds(1));
}

}  // namespace
}  // namespace vmm::policy
