// What could be saved, of each salt and of all together.
#include "sharing/share_estimator.h"

#include <array>
#include <cstring>

#include <gtest/gtest.h>

#include "vmm/units.h"

namespace vmm::sharing {
namespace {

using Page = std::array<std::byte, kPageSize>;

Page page_of(int value) {
  Page page;
  page.fill(static_cast<std::byte>(value));
  return page;
}

TEST(ShareEstimator, CountsDistinctPagesOfEachSaltAndOfAll) {
  const auto secret = ProcessSecret::create();
  ASSERT_TRUE(secret) << secret.error().message();
  ShareEstimator estimator(*secret);
  EXPECT_EQ(estimator.find("one"), nullptr);
  estimator.add_guest("one", "first");
  estimator.add_guest("one", "first");
  estimator.add_guest("two", "second");
  auto *one = estimator.find("one"), *two = estimator.find("two");
  ASSERT_TRUE(one != nullptr && two != nullptr);
  for (const int value : {1, 2, 2, 3, 0, 0}) one->add(page_of(value).data(), estimator.keys());
  for (const int value : {2, 3, 4}) two->add(page_of(value).data(), estimator.keys());
  two->add_zero();
  ShareEstimate estimate;
  estimator.tell(estimate);
  EXPECT_EQ(estimate.looked, 10 * kPageSize);
  EXPECT_EQ(estimate.zero, 3 * kPageSize);
  EXPECT_EQ(estimate.saved, 4 * kPageSize);
  EXPECT_EQ(estimate.saved_in_one_group, 6 * kPageSize);
  ASSERT_EQ(estimate.groups.size(), 2u);
  EXPECT_EQ(estimate.groups[0].salt, "first");
  EXPECT_EQ(estimate.groups[0].guests, 2u);
  EXPECT_EQ(estimate.groups[0].saved, 3 * kPageSize);
  EXPECT_EQ(estimate.groups[1].saved, kPageSize);
  // Another home's guests: nothing is shared between the two.
  estimator.add_guest("one", "first");
  estimator.find("one")->add(page_of(1).data(), estimator.keys());
  estimator.tell(estimate);
  EXPECT_EQ(estimate.saved, 4 * kPageSize);
  EXPECT_EQ(estimate.looked, 11 * kPageSize);
  EXPECT_EQ(estimate.groups[0].guests, 3u);
}

}  // namespace
}  // namespace vmm::sharing
