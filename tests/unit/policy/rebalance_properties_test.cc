// What every plan of rebalancing keeps to, whatever the snapshot: over random ones.
#include "policy/rebalance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "support/seed.h"
#include "vmm/units.h"

namespace vmm::policy {
namespace {

using namespace std::chrono_literals;

RebalanceSnapshot random_host(base::Random& random) {
  RebalanceSnapshot s;
  s.now = 10min;
  const std::size_t nodes = 1 + random.below(6);
  for (std::size_t n = 0; n < nodes; ++n) {
    RebalanceNode node;
    node.id = static_cast<int>(3 * n + random.below(3));
    node.memory_only = random.below(6) == 0;
    node.processors = node.memory_only ? 0 : static_cast<unsigned>(1 + random.below(8));
    node.memory = (16 + random.below(64)) * GiB;
    node.free = random.below(4) == 0 ? random.below(4 * GiB) : random.below(node.memory);
    s.nodes.push_back(node);
  }
  for (std::uint64_t n = random.below(25); n > 0; --n) {
    RebalanceGuest g;
    g.id = 100 * n + random.below(100);
    g.home = s.nodes[random.below(nodes)].id;
    g.shares = 500ULL << random.below(3);
    g.threads = static_cast<unsigned>(random.below(6));
    g.wanted = random.below(4) == 0 ? 0 : g.threads * random.unit();
    g.used = g.wanted * random.unit();
    g.resident = random.below(6 * GiB);
    g.reservation = random.below(3) == 0 ? random.below(6 * GiB) : 0;
    g.movable = random.below(8) != 0;
    g.owed = 200 * random.unit() - 100;
    if (random.below(2) == 0)
      for (std::size_t node = 0; node < nodes; ++node) g.by_node.push_back(g.resident / nodes);
    if (random.below(3) == 0)
      for (const RebalanceNode& node : s.nodes)
        if (random.below(2) == 0) g.affinity.push_back(node.id);
    if (random.below(2) == 0) {
      g.last_move = s.now - std::chrono::seconds(random.below(90));
      g.came_from = s.nodes[random.below(nodes)].id;
    }
    s.guests.push_back(g);
  }
  s.history = {random.below(50) + 10, random.below(10), random.below(10)};
  return s;
}

RebalanceOptions random_options(base::Random& random) {
  RebalanceOptions o;
  o.max_moves = static_cast<unsigned>(random.below(8));
  o.swap = random.below(4) != 0;
  o.fairness_interval = static_cast<unsigned>(random.below(3));
  o.locality_weight = static_cast<double>(random.below(3));
  return o;
}

const RebalanceNode* node(const RebalanceSnapshot& s, int id) {
  const auto at = std::find_if(s.nodes.begin(), s.nodes.end(), [&](const RebalanceNode& n) { return n.id == id; });
  return at == s.nodes.end() ? nullptr : &*at;
}

// By id, so that snapshots in another order compare.
std::vector<std::string> decisions(const RebalancePlan& plan) {
  std::vector<std::string> told;
  for (const RebalanceMove& m : plan.moves) told.push_back(m.reason);
  told.push_back(plan.reason);
  return told;
}

class RebalanceProperties : public ::testing::Test {
 protected:
  const std::uint64_t seed_ = test::seed();
  base::Random random_{seed_};
};

TEST_F(RebalanceProperties, EveryMoveIsAllowed) {
  SCOPED_TRACE(test::seed_note(seed_));
  std::map<RebalanceWhy, int> seen;
  for (int round = 0; round < 5000; ++round) {
    const RebalanceSnapshot s = random_host(random_);
    const RebalanceOptions o = random_options(random_);
    const RebalancePlan plan = plan_rebalance(s, o);
    EXPECT_LE(plan.moves.size(), o.max_moves);
    std::set<std::size_t> moved;
    std::map<int, double> needed;
    std::map<int, double> reserved;
    for (const RebalanceGuest& g : s.guests) reserved[g.home] += static_cast<double>(g.reservation);
    for (const RebalanceMove& m : plan.moves) {
      SCOPED_TRACE(m.reason);
      ++seen[m.why];
      const RebalanceGuest& g = s.guests[m.guest];
      EXPECT_TRUE(moved.insert(m.guest).second) << "twice";
      EXPECT_EQ(m.from, g.home);
      EXPECT_NE(m.from, m.to);
      EXPECT_TRUE(g.movable);
      EXPECT_GT(g.wanted, 0) << "idle";
      const RebalanceNode* to = node(s, m.to);
      ASSERT_NE(to, nullptr);
      EXPECT_FALSE(to->memory_only);
      EXPECT_GT(to->processors, 0U);
      EXPECT_TRUE(g.affinity.empty() || std::count(g.affinity.begin(), g.affinity.end(), m.to) > 0);
      if (g.last_move) {
        EXPECT_GE(s.now - *g.last_move, o.cool_down);
        if (g.came_from == m.to && m.why != RebalanceWhy::fairness) {
          EXPECT_GE(s.now - *g.last_move, o.return_guard);
        }
      }
      const std::uint64_t there = g.by_node.empty() ? 0 : g.by_node[static_cast<std::size_t>(to - s.nodes.data())];
      const std::uint64_t holds = std::max(g.resident, g.reservation);
      const double bytes = static_cast<double>(holds - std::min(holds, there));
      needed[m.to] += bytes;
      if (bytes > 0) {
        EXPECT_LE(needed[m.to], static_cast<double>(to->free) - o.min_free * static_cast<double>(to->memory) + 1);
      }
      reserved[m.from] -= static_cast<double>(g.reservation);
      reserved[m.to] += static_cast<double>(g.reservation);
      if (g.reservation > 0) {
        EXPECT_LE(reserved[m.to], (1 - o.min_free) * static_cast<double>(to->memory) + 1);
      }
      if (m.why == RebalanceWhy::swap) {
        ASSERT_TRUE(m.swapped_with.has_value());
        EXPECT_TRUE(o.swap);
        EXPECT_TRUE(s.history.last_swap == 0 || s.history.periods + 1 - s.history.last_swap >= o.swap_interval);
      }
      if (m.why == RebalanceWhy::fairness) {
        EXPECT_EQ(plan.moves.size(), 1U);
        EXPECT_GT(o.fairness_interval, 0U);
        EXPECT_TRUE(s.history.last_fairness == 0 ||
                    s.history.periods + 1 - s.history.last_fairness >= o.fairness_interval);
      }
    }
    if (plan.moves.empty()) {
      EXPECT_EQ(plan.imbalance, plan.imbalance_after);
    }
  }
  // Each kind must have been judged.
  EXPECT_GT(seen[RebalanceWhy::balance], 100);
  EXPECT_GT(seen[RebalanceWhy::swap], 10);
  EXPECT_GT(seen[RebalanceWhy::fairness], 2);
}

// A node that moves for balance filled is not left above its processors while the one that was relieved is less loaded,
// and the higher load of the two has fallen.
TEST_F(RebalanceProperties, BalanceLowersTheHigherLoad) {
  SCOPED_TRACE(test::seed_note(seed_));
  for (int round = 0; round < 3000; ++round) {
    const RebalanceSnapshot s = random_host(random_);
    RebalanceOptions o;
    o.max_moves = 1;
    const RebalancePlan plan = plan_rebalance(s, o);
    if (plan.moves.empty() || plan.moves[0].why != RebalanceWhy::balance) continue;
    const RebalanceMove& m = plan.moves[0];
    const RebalanceNode& from = *node(s, m.from);
    const RebalanceNode& to = *node(s, m.to);
    const double from_load = plan.loads[static_cast<std::size_t>(&from - s.nodes.data())];
    const double to_load = plan.loads[static_cast<std::size_t>(&to - s.nodes.data())];
    const double carried = plan.entitlements[m.guest];
    const double from_then = from_load - carried / from.processors;
    const double to_then = to_load + carried / to.processors;
    EXPECT_LT(std::max(from_then, to_then), from_load) << m.reason;
    EXPECT_TRUE(to_then <= 1 + o.imbalance / 2 + 1e-9 || to_then <= from_then + 1e-6) << m.reason;
    if (to_then > 1 + o.imbalance / 2 + 1e-9) {
      for (std::size_t i = 0; i < s.guests.size(); ++i) {
        if (s.guests[i].home == m.to && plan.entitlements[i] > 0.01) {
          EXPECT_LE(plan.owed[i], 1.0) << m.reason;
        }
      }
    }
  }
}

TEST_F(RebalanceProperties, TheOrderOfTheSnapshotDoesNotMatter) {
  SCOPED_TRACE(test::seed_note(seed_));
  for (int round = 0; round < 1000; ++round) {
    const RebalanceSnapshot s = random_host(random_);
    const RebalanceOptions o = random_options(random_);
    const RebalancePlan plan = plan_rebalance(s, o);
    EXPECT_EQ(decisions(plan), decisions(plan_rebalance(s, o)));

    RebalanceSnapshot other = s;
    std::vector<std::size_t> nodes(s.nodes.size());
    for (std::size_t n = 0; n < nodes.size(); ++n) nodes[n] = n;
    for (std::size_t n = nodes.size(); n > 1; --n) std::swap(nodes[n - 1], nodes[random_.below(n)]);
    for (std::size_t n = 0; n < nodes.size(); ++n) other.nodes[n] = s.nodes[nodes[n]];
    std::vector<std::size_t> guests(s.guests.size());
    for (std::size_t g = 0; g < guests.size(); ++g) guests[g] = g;
    for (std::size_t g = guests.size(); g > 1; --g) std::swap(guests[g - 1], guests[random_.below(g)]);
    for (std::size_t g = 0; g < guests.size(); ++g) {
      other.guests[g] = s.guests[guests[g]];
      for (std::size_t n = 0; n < other.guests[g].by_node.size(); ++n)
        other.guests[g].by_node[n] = s.guests[guests[g]].by_node[nodes[n]];
    }
    const RebalancePlan shuffled = plan_rebalance(other, o);
    EXPECT_EQ(decisions(shuffled), decisions(plan));
    for (std::size_t g = 0; g < guests.size(); ++g) {
      EXPECT_EQ(shuffled.owed[g], plan.owed[guests[g]]);
      EXPECT_EQ(shuffled.entitlements[g], plan.entitlements[guests[g]]);
    }
  }
}

TEST_F(RebalanceProperties, EntitlementsAndDebtsStayWithinBounds) {
  SCOPED_TRACE(test::seed_note(seed_));
  for (int round = 0; round < 1000; ++round) {
    const RebalanceSnapshot s = random_host(random_);
    const RebalancePlan plan = plan_rebalance(s);
    double entitled = 0;
    double processors = 0;
    for (const RebalanceNode& n : s.nodes) processors += n.processors;
    for (const double e : plan.entitlements) entitled += e;
    EXPECT_LE(entitled, processors + 1e-9);
    for (std::size_t i = 0; i < s.guests.size(); ++i) {
      EXPECT_TRUE(std::isfinite(plan.owed[i]));
      EXPECT_LE(plan.entitlements[i], s.guests[i].wanted + 1e-9);
    }
  }
}

}  // namespace
}  // namespace vmm::policy
