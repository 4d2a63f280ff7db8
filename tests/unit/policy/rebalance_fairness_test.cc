#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

#include "policy/rebalance.h"
#include "unit/policy/rebalance_host.h"

namespace vmm::policy {
namespace {

using namespace std::chrono_literals;

TEST(RebalanceFairness, WhatIsOwed) {
  // Two nodes of one processor; a alone on node 1 with all of it, b and c together on node 0: two thirds for each.
  RebalanceSnapshot s = rebalance_host(2, 1, {{1, 1}, {0, 1}, {0, 1}});
  s.elapsed = 3s;
  RebalancePlan plan = plan_rebalance(s);
  EXPECT_NEAR(plan.owed[0], -1.0, 1e-9);
  EXPECT_NEAR(plan.owed[1], 0.5, 1e-9);
  for (std::size_t i = 0; i < 3; ++i) s.guests[i].owed = plan.owed[i];
  plan = plan_rebalance(s);
  EXPECT_NEAR(plan.owed[0], -2.0, 1e-9);
  EXPECT_NEAR(plan.owed[2], 1.0, 1e-9);

  // What all lack alike is not owed.
  for (RebalanceGuest& g : s.guests) g.used = 1.0 / 3, g.owed = 0;
  plan = plan_rebalance(s);
  for (const double owed : plan.owed) EXPECT_NEAR(owed, 0, 1e-9);

  // Who gets what it wants is forgotten slowly, who is idle too.
  s = rebalance_host(2, 1, {{0, 0.5}, {1, 0.5}});
  s.guests[0].owed = 16;
  s.guests[1].owed = -16;
  plan = plan_rebalance(s);
  EXPECT_NEAR(plan.owed[0], 15, 1e-9);
  EXPECT_NEAR(plan.owed[1], -15, 1e-9);
}

// Three equal guests on two nodes of one processor: the one on its own has more than its two thirds.
RebalanceSnapshot three() {
  RebalanceSnapshot s = rebalance_host(2, 1, {{0, 1}, {0, 1}, {1, 1}});
  s.guests[0].owed = 2;
  s.guests[1].owed = 3;
  s.guests[2].owed = -5;
  s.history = {20, 0, 10};
  return s;
}

TEST(RebalanceFairness, GuestsTakeTurnsWhereNothingBalances) {
  struct Case {
    const char* name;
    void (*change)(RebalanceSnapshot&, RebalanceOptions&);
    const char* moves;
  };
  const Case cases[] = {
      // b, who is owed more, is left alone on node 0.
      {"in turn", [](RebalanceSnapshot&, RebalanceOptions&) {}, "a:0>1"},
      {"the other", [](RebalanceSnapshot& s, RebalanceOptions&) { std::swap(s.guests[0].owed, s.guests[1].owed); },
       "b:0>1"},
      {"nobody is owed much",
       [](RebalanceSnapshot& s, RebalanceOptions&) {
         for (RebalanceGuest& g : s.guests) g.owed = 0;
         s.elapsed = 100ms;
       },
       ""},
      {"who is alone is owed more",
       [](RebalanceSnapshot& s, RebalanceOptions&) {
         s.guests[0].owed = s.guests[1].owed = -5;
         s.guests[2].owed = 10;
       },
       ""},
      {"too early", [](RebalanceSnapshot& s, RebalanceOptions&) { s.history.last_fairness = 17; }, ""},
      {"just in time", [](RebalanceSnapshot& s, RebalanceOptions&) { s.history.last_fairness = 16; }, "a:0>1"},
      {"every second period",
       [](RebalanceSnapshot& s, RebalanceOptions& o) {
         s.history.last_fairness = 19;
         o.fairness_interval = 2;
       },
       "a:0>1"},
      {"switched off", [](RebalanceSnapshot&, RebalanceOptions& o) { o.fairness_interval = 0; }, ""},
      {"no moves allowed", [](RebalanceSnapshot&, RebalanceOptions& o) { o.max_moves = 0; }, ""},
      {"imbalance allowed", [](RebalanceSnapshot&, RebalanceOptions& o) { o.imbalance = 0.67; }, ""},
      {"a just moved", [](RebalanceSnapshot& s, RebalanceOptions&) { s.guests[0].last_move = s.now - 29s; }, "b:0>1"},
      {"back where it came from",
       [](RebalanceSnapshot& s, RebalanceOptions&) {
         s.guests[0].last_move = s.now - 31s;
         s.guests[0].came_from = 1;
       },
       "a:0>1"},
      {"a may not move", [](RebalanceSnapshot& s, RebalanceOptions&) { s.guests[0].movable = false; }, "b:0>1"},
      {"no memory there", [](RebalanceSnapshot& s, RebalanceOptions&) { s.nodes[1].free = 0; }, ""},
      // Entitled to all of node 1 and getting it.
      {"shares explain it", [](RebalanceSnapshot& s, RebalanceOptions&) { s.guests[2].shares = 2; }, ""},
  };
  for (const Case& c : cases) {
    RebalanceSnapshot s = three();
    RebalanceOptions o;
    c.change(s, o);
    const RebalancePlan plan = plan_rebalance(s, o);
    EXPECT_EQ(text(s, plan), c.moves) << c.name << ": " << plan.reason;
    EXPECT_EQ(plan.history.last_fairness, plan.moves.empty() ? s.history.last_fairness : 21) << c.name;
    for (const RebalanceMove& m : plan.moves) {
      EXPECT_EQ(m.why, RebalanceWhy::fairness) << c.name;
      EXPECT_NE(m.reason.find("CPU seconds"), std::string::npos) << m.reason;
    }
  }
}

TEST(RebalanceFairness, TurnsLeaveNoProcessorsIdle) {
  // b is owed, and without a it would have all it wants; but a and c would then wait while b leaves a processor idle.
  RebalanceSnapshot s = rebalance_host(2, 2, {{0, 2}, {0, 1}, {1, 2}});
  s.guests[1].movable = false;
  s.guests[0].owed = s.guests[2].owed = -50;
  s.guests[1].owed = 100;
  EXPECT_EQ(planned(s), "");
  // On a destination that is large enough for that, not.
  s.nodes[1].processors = 3;
  s.guests[2].wanted = s.guests[2].used = 2;
  EXPECT_EQ(planned(s), "a:0>1");
}

TEST(RebalanceFairness, BalanceTakesNobodyBelowWhatItIsOwed) {
  // Five equal guests on three nodes: three of them on node 0. Node 1 or 2 would be filled above its processor, and
  // ends no more loaded than node 0.
  RebalanceSnapshot s = rebalance_host(3, 1, {{0, 1}, {0, 1}, {0, 1}, {1, 1}, {2, 1}});
  RebalanceOptions o;
  o.fairness_interval = 0;
  EXPECT_EQ(planned(s, o), "a:0>1");
  s.guests[3].owed = 20;
  s.guests[4].owed = -20;
  EXPECT_EQ(planned(s, o), "a:0>2") << "d, on node 1, is owed";
  s.guests[4].owed = 20;
  for (std::size_t i = 0; i < 3; ++i) s.guests[i].owed = -40.0 / 3;
  EXPECT_EQ(planned(s, o), "");

  // It would end more loaded than the other: that is a matter of turns.
  s = rebalance_host(2, 1, {{0, 1}, {0, 1}, {1, 1}});
  s.guests[0].shares = s.guests[1].shares = 7;
  s.guests[2].shares = 6;
  EXPECT_EQ(planned(s, o), "");
}

}  // namespace
}  // namespace vmm::policy
