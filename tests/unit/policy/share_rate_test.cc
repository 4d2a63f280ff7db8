// How fast pages are looked at for sharing: by the time for all of a guest, the most for a guest, and what processors
// may spend, whichever is least.
#include "policy/share_rate.h"

#include <gtest/gtest.h>

#include "vmm/units.h"

namespace vmm::policy {
namespace {

using std::chrono::minutes;

ShareRateSnapshot snapshot() {
  ShareRateSnapshot s;
  s.pages = 1 * GiB / kPageSize;
  s.all_pages = s.pages;
  s.bytes_per_second = 1e12;
  return s;
}

TEST(ShareRate, AllOfAGuestInTheTimeGiven) {
  auto s = snapshot();
  EXPECT_NEAR(plan_share_rate(s), 262144 / 3600.0, 1e-6);
  s.scan_time = minutes(10);
  EXPECT_NEAR(plan_share_rate(s), 262144 / 600.0, 1e-6);
}

TEST(ShareRate, NotMoreThanTheMostForAGuest) {
  auto s = snapshot();
  s.scan_time = minutes(1);
  EXPECT_EQ(plan_share_rate(s), 1024.0);
  s.most = 100;
  EXPECT_EQ(plan_share_rate(s), 100.0);
}

// ESX's 4 MB/s a GHz on one processor of 2.5 GHz: 10 MB/s for all guests, each by its size.
TEST(ShareRate, ProcessorsSpendNoMoreThanTheyMay) {
  auto s = snapshot();
  s.scan_time = minutes(1);
  s.most = 1e9;
  s.bytes_per_second = 10e6;
  EXPECT_NEAR(plan_share_rate(s), 10e6 / 4096, 1e-6);
  s.all_pages = 4 * s.pages;
  EXPECT_NEAR(plan_share_rate(s), 10e6 / 4096 / 4, 1e-6);
  s.bytes_per_second = 0;
  EXPECT_EQ(plan_share_rate(s), 0.0);
}

// Where nothing was ever found it is looked at less and less, down to a sixteenth.
TEST(ShareRate, WhatNeverMatchesIsLookedAtLess) {
  auto s = snapshot();
  const auto full = plan_share_rate(s);
  auto before = full;
  for (s.fruitless = 1; s.fruitless < 100; ++s.fruitless) {
    const auto rate = plan_share_rate(s);
    EXPECT_LE(rate, before);
    before = rate;
  }
  EXPECT_EQ(before, full / 16);
  s.fruitless = 1;
  EXPECT_EQ(plan_share_rate(s), full);
  s.fruitless = 2;
  EXPECT_EQ(plan_share_rate(s), full / 2);
}

TEST(ShareRate, OfNothingNothing) {
  EXPECT_EQ(plan_share_rate({}), 0.0);
  auto s = snapshot();
  s.all_pages = 0;  // of a snapshot that is not whole
  EXPECT_GT(plan_share_rate(s), 0.0);
  s.scan_time = {};
  EXPECT_EQ(plan_share_rate(s), 1024.0);
}

}  // namespace
}  // namespace vmm::policy
