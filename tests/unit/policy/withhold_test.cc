#include "policy/withhold.h"

#include <gtest/gtest.h>

#include "vmm/units.h"

namespace vmm::policy {
namespace {

GroupRoom full_group() {
  GroupRoom r;
  r.limit = 1000 * MiB;
  r.used = 990 * MiB;
  r.min_free = 0.06;
  r.consumed = 700 * MiB;
  r.budget = 800 * MiB;
  return r;
}

TEST(Withhold, NothingWithoutALimit) {
  auto r = full_group();
  r.limit = 0;
  EXPECT_EQ(plan_withheld(r), 0u);
}

TEST(Withhold, NothingWhileTheWholeBudgetFits) {
  auto r = full_group();
  r.used = 870 * MiB;  // 130 MiB of room, 30 kept, 100 that the budget leaves to the guests
  EXPECT_EQ(plan_withheld(r), 0u);
}

TEST(Withhold, GuestsGrowIntoTheRoomThatThereIs) {
  auto r = full_group();
  r.used = 920 * MiB;
  EXPECT_EQ(r.budget - plan_withheld(r), (700 + 80 - 30) * MiB);
}

TEST(Withhold, WhatIsMissingIsTakenFromWhatGuestsHold) {
  const auto r = full_group();
  EXPECT_EQ(r.budget - plan_withheld(r), 680 * MiB) << "30 MiB are to be free and 10 are";
}

TEST(Withhold, ZeroPagesOfGuestsKeepTheRoomThatWritingThemTakes) {
  auto r = full_group();
  r.used = 920 * MiB;
  r.hollow = 20 * MiB;
  EXPECT_EQ(r.budget - plan_withheld(r), (700 + 80 - 30 - 20) * MiB);
}

TEST(Withhold, AnOverfullGroupIsRelieved) {
  auto r = full_group();
  r.used = 1100 * MiB;
  const auto usable = r.budget - plan_withheld(r);
  EXPECT_EQ(usable, 670 * MiB);
  // The guests follow, and that settles it once the others have gone too.
  r.used -= r.consumed - usable;
  r.consumed = usable;
  EXPECT_LE(r.budget - plan_withheld(r), usable);
}

TEST(Withhold, NeverMoreThanTheBudget) {
  auto r = full_group();
  r.used = 5000 * MiB;
  r.consumed = 10 * MiB;
  EXPECT_EQ(plan_withheld(r), r.budget);
}

}  // namespace
}  // namespace vmm::policy
