#include "host/control_verbs.h"

#include <gtest/gtest.h>

namespace vmm::host {
namespace {

TEST(ControlFields, OfAGuest) {
  const auto change = guest_change({{"guest", "g"},
                                    {"limit", "4194304"},
                                    {"reservation", "0"},
                                    {"shares", "high"},
                                    {"pool", "/a/b"},
                                    {"idle_tax", "0.5"},
                                    {"balloon_max", "18446744073709551615"},
                                    {"node_affinity", "0,2-3"},
                                    {"rebalance", "false"}});
  ASSERT_TRUE(change) << change.error().message();
  EXPECT_EQ(change->limit, 4194304U);
  EXPECT_EQ(change->reservation, 0U);
  EXPECT_EQ(change->shares, Shares::high());
  EXPECT_EQ(change->pool, "/a/b");
  EXPECT_EQ(change->idle_tax, 0.5);
  EXPECT_EQ(change->balloon_max, ~std::uint64_t{0});
  EXPECT_EQ(change->node_affinity, (std::vector<int>{0, 2, 3}));
  EXPECT_EQ(change->rebalance, false);
  EXPECT_EQ(guest_change({{"shares", "1234"}})->shares, Shares::custom(1234));
}

TEST(ControlFields, OfTheHost) {
  const auto change = host_change({{"memory", "1073741824"},
                                   {"min_free", "0.1"},
                                   {"memory_ladder", "sliding"},
                                   {"balance_period_ms", "1500"},
                                   {"sample_pages", "7"},
                                   {"rebalance", "1"},
                                   {"migration_rate_max", "12.5"},
                                   {"share_rate_max", "4294967295"}});
  ASSERT_TRUE(change) << change.error().message();
  EXPECT_EQ(change->memory, 1073741824U);
  EXPECT_EQ(change->min_free, 0.1);
  EXPECT_EQ(change->memory_ladder, MemoryLadder::sliding);
  EXPECT_EQ(change->balance_period, std::chrono::milliseconds(1500));
  EXPECT_EQ(change->sample_pages, 7U);
  EXPECT_EQ(change->rebalance, true);
  EXPECT_EQ(change->migration_rate_max, 12.5);
  EXPECT_EQ(change->share_rate_max, 4294967295U);
  EXPECT_FALSE(change->idle_tax);
}

TEST(ControlFields, WhatIsWrongIsNamedWithItsValue) {
  for (const Fields& fields : {Fields{{"limit", "4k"}}, Fields{{"limit", "-1"}}, Fields{{"limit", ""}},
                               Fields{{"limit", "18446744073709551616"}}, Fields{{"shares", "lots"}},
                               Fields{{"idle_tax", "nan"}}, Fields{{"idle_tax", "0,5"}}, Fields{{"rebalance", "yes"}},
                               Fields{{"node_affinity", "a"}}, Fields{{"memory", "1"}}}) {
    const auto change = guest_change(fields);
    ASSERT_FALSE(change) << fields.begin()->first << " = " << fields.begin()->second;
    EXPECT_NE(change.error().operation.find(fields.begin()->first + " = " + fields.begin()->second), std::string::npos)
        << change.error().operation;
    EXPECT_FALSE(change.error().remedy.empty());
  }
  for (const Fields& fields : {Fields{{"sample_pages", "4294967296"}}, Fields{{"balance_period_ms", "1s"}},
                               Fields{{"balance_period_ms", "99999999999999999"}}, Fields{{"memory_ladder", "steep"}},
                               Fields{{"balance_period", "1"}}, Fields{{"limit", "1"}}})
    EXPECT_FALSE(host_change(fields)) << fields.begin()->first;
  EXPECT_FALSE(guest_change({{"guest", "g"}})) << "nothing is to change";
  EXPECT_FALSE(host_change({}));
}

}  // namespace
}  // namespace vmm::host
