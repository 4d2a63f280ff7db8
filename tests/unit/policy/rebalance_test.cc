#include "policy/rebalance.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "unit/policy/rebalance_host.h"
#include "vmm/units.h"

namespace vmm::policy {
namespace {

using namespace std::chrono_literals;

TEST(Rebalance, Table) {
  struct Case {
    const char* name;
    unsigned nodes, processors;
    std::vector<Homed> guests;
    const char* moves;
  };
  const Case cases[] = {
      {"nobody", 2, 2, {}, ""},
      {"one node", 1, 2, {{0, 1}, {0, 1}, {0, 1}}, ""},
      {"balanced", 2, 2, {{0, 1}, {0, 1}, {1, 1}, {1, 1}}, ""},
      {"both guests of a node went idle", 2, 2, {{0, 1}, {0, 1}, {1, 0}, {1, 0}}, "a:0>1"},
      {"both are gone", 2, 2, {{0, 1}, {0, 1}}, "a:0>1"},
      {"all idle", 2, 2, {{0, 0}, {0, 0}, {0, 0}}, ""},
      {"nearly idle", 2, 64, {{0, 0.9}, {0, 0.9}}, ""},
      {"little is enough on a small part of a large node", 2, 16, {{0, 1}, {0, 1}}, "a:0>1"},
      {"to the least loaded", 3, 4, {{0, 1}, {0, 1}, {0, 1}, {1, 1}}, "a:0>2"},
      {"from the most loaded", 3, 4, {{0, 1}, {0, 1}, {0, 1}, {1, 1}, {1, 1}}, "a:0>2"},
      {"the guest that fits best", 2, 4, {{0, 0.8}, {0, 1.2}, {0, 2}}, "c:0>1"},
      {"a guest alone stays", 2, 2, {{0, 2}}, ""},
      {"difference of 9 % is left alone", 2, 100, {{0, 50}, {0, 2.4}, {0, 2.4}, {1, 50}}, ""},
      {"difference of 11 % is not", 2, 100, {{0, 50}, {0, 2.9}, {0, 2.9}, {1, 50}}, "b:0>1"},
      {"an improvement of 1 % is too little", 2, 100, {{0, 41.5}, {0, 12}, {1, 41}}, ""},
      {"one of 3 % is not", 2, 100, {{0, 42.5}, {0, 12}, {1, 41}}, "b:0>1"},
      {"swap", 2, 8, {{0, 4}, {0, 4}, {1, 3}, {1, 3}}, "a:0>1 c:1>0"},
      {"several in one plan", 4, 4, {{0, 1}, {0, 1}, {0, 1}, {0, 1}}, "a:0>1 b:0>2 c:0>3"},
      {"up to four",
       2,
       8,
       {{0, .7}, {0, .7}, {0, .7}, {0, .7}, {0, .7}, {0, .7}, {0, .7}, {0, .7}, {0, .7}, {0, .7}},
       "a:0>1 b:0>1 c:0>1 d:0>1"},
      {"together small guests are worth it", 2, 8, std::vector<Homed>(26, {0, 0.15}), "a:0>1 b:0>1 c:0>1 d:0>1"},
      {"one is not", 2, 8, {{0, 6}, {0, 0.05}}, ""},
      {"three equal ones on two nodes: nothing is better", 2, 1, {{0, 1}, {0, 1}, {1, 1}}, ""},
  };
  for (const Case& c : cases) {
    const RebalanceSnapshot s = rebalance_host(c.nodes, c.processors, c.guests);
    RebalanceOptions options;
    options.fairness_interval = 0;
    const RebalancePlan plan = plan_rebalance(s, options);
    EXPECT_EQ(text(s, plan), c.moves) << c.name << ": " << plan.reason;
    EXPECT_FALSE(plan.reason.empty()) << c.name;
  }
}

// Nodes 0 and 1 of two processors; a and b on node 0 want one each. One of them goes to node 1, if it may.
RebalanceSnapshot pair() { return rebalance_host(2, 2, {{0, 1}, {0, 1}}); }

TEST(Rebalance, WhoMayMoveAndWhere) {
  struct Case {
    const char* name;
    void (*change)(RebalanceSnapshot&);
    const char* moves;
  };
  const Case cases[] = {
      {"as it is", [](RebalanceSnapshot&) {}, "a:0>1"},
      {"a may not move", [](RebalanceSnapshot& s) { s.guests[0].movable = false; }, "b:0>1"},
      {"neither may", [](RebalanceSnapshot& s) { s.guests[0].movable = s.guests[1].movable = false; }, ""},
      {"affinity of a", [](RebalanceSnapshot& s) { s.guests[0].affinity = {0}; }, "b:0>1"},
      {"affinity of a to both",
       [](RebalanceSnapshot& s) {
         s.guests[0].affinity = {1, 0};
       },
       "a:0>1"},
      {"affinity to another node",
       [](RebalanceSnapshot& s) {
         s.guests[0].affinity = s.guests[1].affinity = {0, 2};
         s.nodes.push_back({2, 2, kMemory, kMemory, false});
       },
       "a:0>2"},
      {"affinity to no node there is", [](RebalanceSnapshot& s) { s.guests[0].affinity = s.guests[1].affinity = {7}; },
       ""},
      {"memory-only", [](RebalanceSnapshot& s) { s.nodes[1].memory_only = true; }, ""},
      {"no processors", [](RebalanceSnapshot& s) { s.nodes[1].processors = 0; }, ""},
      {"a lives on a memory-only node",
       [](RebalanceSnapshot& s) {
         s.nodes.push_back({2, 0, kMemory, kMemory, true});
         s.guests[0].home = 2;
       },
       ""},
      {"a lives nowhere", [](RebalanceSnapshot& s) { s.guests[0].home = 9; }, ""},
      {"memory just suffices", [](RebalanceSnapshot& s) { s.nodes[1].free = kJustFree; }, "a:0>1"},
      {"too little memory", [](RebalanceSnapshot& s) { s.nodes[1].free = kJustFree - 1; }, ""},
      {"too little for a alone",
       [](RebalanceSnapshot& s) {
         s.nodes[1].free = kJustFree - 1;
         s.guests[1].resident = 512 * MiB;
       },
       "b:0>1"},
      {"enough with what is there already",
       [](RebalanceSnapshot& s) {
         s.nodes[1].free = kJustFree - 1;
         s.guests[1].by_node = {512 * MiB, 512 * MiB};
       },
       "b:0>1"},
      {"reservation needs memory",
       [](RebalanceSnapshot& s) {
         s.nodes[1].free = 6 * GiB;
         s.guests[0].reservation = 3 * GiB;
       },
       "b:0>1"},
      {"reservations there leave no room",
       [](RebalanceSnapshot& s) {
         s.guests[0].reservation = 2 * GiB;
         RebalanceGuest idle = s.guests[1];
         idle.id = 7;
         idle.home = 1;
         idle.used = idle.wanted = 0;
         idle.reservation = 59 * GiB;
         s.guests.push_back(idle);
       },
       "b:0>1"},
      {"to the node with more memory free",
       [](RebalanceSnapshot& s) {
         s.nodes.push_back({2, 2, kMemory, kMemory, false});
         s.nodes[1].free = 32 * GiB;
       },
       "a:0>2"},
      {"prefers who has memory there",
       [](RebalanceSnapshot& s) {
         s.guests[1].by_node = {900 * MiB, 124 * MiB};
       },
       "b:0>1"},
      {"then who has less to bring", [](RebalanceSnapshot& s) { s.guests[1].resident = MiB; }, "b:0>1"},
      {"just moved", [](RebalanceSnapshot& s) { s.guests[0].last_move = s.now - 30s + 1ns; }, "b:0>1"},
      {"cooled down", [](RebalanceSnapshot& s) { s.guests[0].last_move = s.now - 30s; }, "a:0>1"},
      {"would go back",
       [](RebalanceSnapshot& s) {
         s.guests[0].last_move = s.now - 60s + 1ns;
         s.guests[0].came_from = 1;
       },
       "b:0>1"},
      {"may go back",
       [](RebalanceSnapshot& s) {
         s.guests[0].last_move = s.now - 60s;
         s.guests[0].came_from = 1;
       },
       "a:0>1"},
      {"figures that are none",
       [](RebalanceSnapshot& s) {
         s.guests[0].wanted = s.guests[0].used = std::numeric_limits<double>::quiet_NaN();
         s.guests[1].owed = -std::numeric_limits<double>::infinity();
       },
       ""},
  };
  for (const Case& c : cases) {
    RebalanceSnapshot s = pair();
    c.change(s);
    const RebalancePlan plan = plan_rebalance(s);
    EXPECT_EQ(text(s, plan), c.moves) << c.name << ": " << plan.reason;
  }
}

TEST(Rebalance, Options) {
  const RebalanceSnapshot two = pair();
  const RebalanceSnapshot swap = rebalance_host(2, 8, {{0, 4}, {0, 4}, {1, 3}, {1, 3}});
  RebalanceOptions o;
  EXPECT_EQ(planned(two, o), "a:0>1");
  o.imbalance = 2.1;
  EXPECT_EQ(planned(two, o), "");
  o = {};
  o.improvement = 1.01;
  EXPECT_EQ(planned(two, o), "");
  o = {};
  o.max_moves = 0;
  EXPECT_EQ(planned(two, o), "");
  o = {};
  o.cool_down = 10s;
  RebalanceSnapshot moved = two;
  moved.guests[0].last_move = moved.now - 10s;
  EXPECT_EQ(planned(moved, o), "a:0>1");
  o = {};
  o.return_guard = 40s;
  moved.guests[0].came_from = 1;
  moved.guests[0].last_move = moved.now - 40s;
  EXPECT_EQ(planned(moved, o), "a:0>1");
  o = {};
  o.min_free = 0.5;
  RebalanceSnapshot full = two;
  full.nodes[1].free = 32 * GiB;
  EXPECT_EQ(planned(full, o), "");
  o.min_free = 0.4;
  EXPECT_EQ(planned(full, o), "a:0>1");

  o = {};
  o.swap = false;
  EXPECT_EQ(planned(swap, o), "");
  o = {};
  o.max_moves = 1;
  EXPECT_EQ(planned(swap, o), "") << "a swap is two moves";
  o.max_moves = 2;
  EXPECT_EQ(planned(swap, o), "a:0>1 c:1>0");
}

TEST(Rebalance, LocalityCountsByItsWeight) {
  // a fits best; b improves two thirds as much, and has nearly half of its memory there.
  RebalanceSnapshot s = rebalance_host(2, 8, {{0, 1.5}, {0, 1}, {0, 0.5}});
  s.guests[1].by_node = {576 * MiB, 448 * MiB};
  RebalanceOptions o;
  o.max_moves = 1;
  EXPECT_EQ(planned(s, o), "a:0>1");
  s.guests[1].by_node = {448 * MiB, 576 * MiB};
  EXPECT_EQ(planned(s, o), "b:0>1");
  o.locality_weight = 0;
  EXPECT_EQ(planned(s, o), "a:0>1");
  o.locality_weight = 2;
  s.guests[1].by_node = {724 * MiB, 300 * MiB};
  EXPECT_EQ(planned(s, o), "b:0>1");
}

TEST(Rebalance, SwapsEveryThirdPeriodOnly) {
  RebalanceSnapshot s = rebalance_host(2, 8, {{0, 4}, {0, 4}, {1, 3}, {1, 3}});
  for (const auto& [periods, last, moves] : {std::tuple{0, 0, true}, {10, 10, false}, {10, 9, false}, {10, 8, true}}) {
    s.history.periods = static_cast<std::uint64_t>(periods);
    s.history.last_swap = static_cast<std::uint64_t>(last);
    const RebalancePlan plan = plan_rebalance(s);
    EXPECT_EQ(plan.moves.size(), moves ? 2U : 0U) << periods << " " << last << plan.reason;
    EXPECT_EQ(plan.history.periods, s.history.periods + 1);
    EXPECT_EQ(plan.history.last_swap, moves ? s.history.periods + 1 : s.history.last_swap);
    if (!moves) {
      EXPECT_NE(plan.reason.find("swapped every 3 periods"), std::string::npos) << plan.reason;
    }
  }
}

TEST(Rebalance, ReasonsHaveFigures) {
  RebalanceSnapshot s = pair();
  s.guests[0].by_node = {768 * MiB, 256 * MiB};
  RebalancePlan plan = plan_rebalance(s);
  ASSERT_EQ(plan.moves.size(), 1U);
  EXPECT_EQ(
      plan.moves[0].reason,
      "guest a goes from node 0 to node 1, imbalance 200 %, improvement 100 %: it is entitled to 1.00 processors, "
      "and 25 % of its 1 GiB are there; loads of nodes 0 and 1: 1.00 and 0.00, then 0.50 and 0.50");
  EXPECT_EQ(plan.reason, "imbalance 0 %, not above 10 %");
  EXPECT_DOUBLE_EQ(plan.imbalance, 2.0);
  EXPECT_DOUBLE_EQ(plan.imbalance_after, 0.0);
  EXPECT_EQ(plan.loads, (std::vector<double>{1, 0}));
  EXPECT_EQ(plan.moves[0].why, RebalanceWhy::balance);

  s = rebalance_host(2, 8, {{0, 4}, {0, 4}, {1, 3}, {1, 3}});
  s.guests[2].name.clear();
  plan = plan_rebalance(s);
  ASSERT_EQ(plan.moves.size(), 2U);
  EXPECT_EQ(plan.moves[0].swapped_with, 2U);
  EXPECT_EQ(plan.moves[1].swapped_with, 0U);
  EXPECT_EQ(plan.moves[1].why, RebalanceWhy::swap);
  EXPECT_NE(plan.moves[0].reason.find("for guest 2, since no single move helps"), std::string::npos)
      << plan.moves[0].reason;
  EXPECT_NE(plan.moves[1].reason.find("guest 2 goes from node 1 to node 0"), std::string::npos) << plan.moves[1].reason;
}

TEST(Rebalance, EntitlementsFollowSharesAndWants) {
  RebalanceSnapshot s = rebalance_host(2, 2, {{0, 2}, {0, 2}, {1, 0.5}});
  s.guests[0].shares = 2000;
  s.guests[1].shares = 1000;
  s.guests[2].shares = 1;
  const RebalancePlan plan = plan_rebalance(s);
  EXPECT_NEAR(plan.entitlements[0], 2, 1e-9) << "no more than a node has";
  EXPECT_NEAR(plan.entitlements[1], 4 - 2 - 4.0 / 3001 * 1, 0.01);
  EXPECT_GT(plan.entitlements[2], 0);
}

}  // namespace
}  // namespace vmm::policy
