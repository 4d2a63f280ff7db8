// Rebalancing over simulated hosts: that it settles, stays settled, is quick, and is fair.
//
// The best placement is not known; where it matters it is estimated from above by the greedy one, most entitled guest
// first onto the least loaded node (Graham, "Bounds on Multiprocessing Timing Anomalies", 1969).
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "sim/numa_host.h"
#include "support/seed.h"

namespace vmm::sim {
namespace {

using namespace std::chrono_literals;

constexpr int kHour = 1800;  // periods

// Guests for each node, of which each wants `fill` of what it would have if the processors were divided equally, on
// average.
NumaHost random_host(base::Random& random, std::size_t nodes, std::size_t guests_each, double fill, bool scattered) {
  constexpr unsigned kProcessors = 16;
  NumaHost host(nodes, kProcessors);
  for (std::size_t i = 0; i < nodes * guests_each; ++i) {
    SimGuest guest;
    guest.home = scattered ? static_cast<int>(random.below(nodes)) : 0;
    guest.demand =
        std::min(1.0 * kProcessors, 2 * random.unit() * fill * kProcessors / static_cast<double>(guests_each));
    guest.threads = static_cast<unsigned>(std::ceil(guest.demand)) + static_cast<unsigned>(random.below(3));
    guest.memory = (64 + random.below(512)) * MiB;
    host.add(guest);
  }
  return host;
}

std::vector<double> greedy_loads(const policy::RebalancePlan& plan, unsigned processors) {
  auto entitled = plan.entitlements;
  std::sort(entitled.rbegin(), entitled.rend());
  std::vector<double> loads(plan.loads.size());
  for (const double e : entitled) *std::min_element(loads.begin(), loads.end()) += e / processors;
  return loads;
}
double greedy_most(const policy::RebalancePlan& plan, unsigned processors) {
  const auto loads = greedy_loads(plan, processors);
  return *std::max_element(loads.begin(), loads.end());
}
double greedy_imbalance(const policy::RebalancePlan& plan, unsigned processors) {
  const auto loads = greedy_loads(plan, processors);
  const auto [least, most] = std::minmax_element(loads.begin(), loads.end());
  const double sum = std::accumulate(loads.begin(), loads.end(), 0.0);
  return (*most - *least) / std::max(0.5, sum / static_cast<double>(loads.size()));
}

TEST(RebalanceSim, TheDocumentsExampleEndsBalanced) {
  for (const bool stop : {false, true}) {
    NumaHost host(2, 2);
    for (const int home : {0, 0, 1, 1}) {
      SimGuest guest;
      guest.home = home;
      guest.demand = 1;
      host.add(guest);
    }
    for (int i = 0; i < 30; ++i) EXPECT_TRUE(host.step().moves.empty());
    host.guests[2].demand = host.guests[3].demand = 0;
    if (stop) host.guests[2].threads = host.guests[3].threads = 0;
    for (int i = 0; i < 3; ++i) host.step();
    EXPECT_NE(host.guests[0].home, host.guests[1].home);
    for (int i = 0; i < kHour; ++i) host.step();
    EXPECT_EQ(host.moves, 1U);
    EXPECT_EQ(host.remote(0) + host.remote(1), 0U) << "its memory has followed";
  }
}

// With as many moves a period as there are nodes.
TEST(RebalanceSim, SettlesInFivePeriodsAndStays) {
  const auto seed = test::seed();
  SCOPED_TRACE(test::seed_note(seed));
  base::Random random(seed);
  for (const std::size_t nodes : {2U, 4U, 8U, 16U, 32U, 64U}) {
    for (const double fill : {0.4, 0.9, 1.5}) {
      for (const std::size_t each : {10U, 30U}) {
        NumaHost host = random_host(random, nodes, each, fill, true);
        const std::string name =
            std::to_string(nodes) + " nodes of " + std::to_string(each) + " guests, fill " + std::to_string(fill);
        double imbalance = 0;
        double best = 0;
        for (int i = 0; i < 5; ++i) {
          const auto& plan = host.step();
          if (i == 0) best = greedy_imbalance(plan, 16);
          imbalance = plan.imbalance_after;
        }
        ASSERT_LE(best, 0.10) << name;
        EXPECT_LE(imbalance, 0.10) << name;
        const std::size_t moves = host.moves;
        for (int i = 0; i < (nodes <= 8 ? 2 * kHour : kHour); ++i) host.step();
        EXPECT_EQ(host.moves, moves) << name;
      }
    }
  }
}

// Within the periods between moves for fairness there is one of them, or one exchange.
void expect_rest(NumaHost& host, int periods, const std::string& what) {
  std::deque<std::size_t> recent;
  for (int i = 0; i < periods; ++i) {
    const auto& moves = host.step().moves;
    const bool exchange = moves.size() == 2 && moves[0].swapped_with == moves[1].guest;
    recent.push_back(exchange ? 1 : moves.size());
    if (recent.size() > host.options.fairness_interval) recent.pop_front();
    EXPECT_LE(std::accumulate(recent.begin(), recent.end(), std::size_t{0}), 1U) << what << ", period " << i;
  }
}

// With few guests of unequal size for a node, moves and swaps one after the other do not do. What is the best is a hard
// question: one host in a hundred may take longer.
TEST(RebalanceSim, FewLargeGuestsComeNearTheBest) {
  const auto seed = test::seed_or(1);  // bounds on how many of so many
  SCOPED_TRACE(test::seed_note(seed));
  base::Random random(seed);
  int hosts = 0, near = 0;
  for (const std::size_t nodes : {2U, 4U, 8U, 16U, 32U, 64U})
    for (const std::size_t each : {2U, 3U, 4U, 5U})
      for (int round = 0; round < 12; ++round) {
        NumaHost host = random_host(random, nodes, each, 0.7, true);
        double best = 0, most = 0, possible = 0;
        for (int i = 0; i < 6; ++i) {
          const auto& plan = host.step();  // of the loads that the one before has brought
          if (i == 0) best = greedy_most(plan, 16);
          if (i == 0) possible = greedy_imbalance(plan, 16);
          most = *std::max_element(plan.loads.begin(), plan.loads.end());
        }
        ++hosts;
        near += most <= 1.10 * best ? 1 : 0;
        if (nodes > 16) continue;
        for (int i = 0; i < kHour; ++i) host.step();
        const auto settled = host.moves;
        const auto what = std::to_string(nodes) + " nodes of " + std::to_string(each) + " guests";
        expect_rest(host, possible > 0.10 ? 300 : 60, what);
        if (possible <= 0.10) {
          EXPECT_EQ(host.moves, settled) << what << ": it rests in the end";
        }
      }
  EXPECT_GE(near, hosts - hosts / 100) << "of " << hosts;
}

// All guests on one node, few enough that five periods' moves suffice.
TEST(RebalanceSim, SpreadsFromOneNodeInFivePeriods) {
  const auto seed = test::seed();
  SCOPED_TRACE(test::seed_note(seed));
  base::Random random(seed);
  for (const std::size_t nodes : {2U, 4U, 8U, 16U, 32U, 64U}) {
    NumaHost host(nodes, 8);
    for (std::size_t i = 0; i < 4 * nodes; ++i) {
      SimGuest guest;
      guest.demand = 1 + 0.1 * random.unit();
      guest.threads = 2;
      host.add(guest);
    }
    double imbalance = 0;
    for (int i = 0; i < 5; ++i) imbalance = host.step().imbalance_after;
    EXPECT_LE(imbalance, 0.10) << nodes;
  }
}

// Every ten minutes or so the loads are others. Within five periods the host is balanced again, and then rests.
TEST(RebalanceSim, FollowsChangingLoadsForHours) {
  const auto seed = test::seed();
  SCOPED_TRACE(test::seed_note(seed));
  base::Random random(seed);
  struct Size {
    std::size_t nodes, each;
    int changes;
  };
  for (const auto& [nodes, each, changes] : {Size{2, 16, 24}, Size{8, 16, 24}, Size{64, 16, 24}, Size{64, 156, 12}}) {
    NumaHost host = random_host(random, nodes, each, 0.6, true);
    for (int change = 0; change < changes; ++change) {
      for (SimGuest& guest : host.guests)
        if (random.below(3) == 0) guest.demand = random.below(3) == 0 ? 0 : guest.threads * random.unit();
      double imbalance = 0;
      for (int i = 0; i < 5; ++i) imbalance = host.step().imbalance_after;
      EXPECT_LE(imbalance, 0.10) << nodes << " nodes, change " << change;
      const std::size_t moves = host.moves;
      for (int i = 0; i < 300; ++i) host.step();
      EXPECT_EQ(host.moves, moves) << nodes << " nodes, change " << change;
    }
    for (std::size_t g = 0; g < host.guests.size(); ++g) EXPECT_EQ(host.remote(g), 0U);
  }
}

// Moves that any plan needs until no node is loaded above `most`: of each, the largest guests first.
std::size_t least_moves(const std::vector<int>& homes, const policy::RebalancePlan& plan, unsigned processors,
                        double most) {
  std::vector<std::vector<double>> entitled(plan.loads.size());
  for (std::size_t g = 0; g < homes.size(); ++g)
    entitled[static_cast<std::size_t>(homes[g])].push_back(plan.entitlements[g]);
  std::size_t moves = 0;
  for (std::size_t n = 0; n < entitled.size(); ++n) {
    std::sort(entitled[n].rbegin(), entitled[n].rend());
    double load = plan.loads[n];
    for (auto e = entitled[n].begin(); load > most && e != entitled[n].end(); ++e, ++moves) load -= *e / processors;
  }
  return moves;
}

// With as many moves a period as there are nodes, five periods do, or, where more moves are needed than five periods
// have, as many as have them.
TEST(RebalanceSim, TenThousandGuests) {
  const auto seed = test::seed();
  SCOPED_TRACE(test::seed_note(seed));
  base::Random random(seed);
  constexpr std::size_t kNodes = 64;
  for (const int idle : {0, 4, 8, 16}) {
    NumaHost host = random_host(random, kNodes, 156, 0.7, true);
    std::vector<int> homes;
    for (SimGuest& guest : host.guests) {
      homes.push_back(guest.home);
      if (guest.home < idle) guest.demand = 0;
    }
    const auto first = host.step();
    const double near = 1.10 * greedy_most(first, 16);
    const std::size_t needed = least_moves(homes, first, 16, near);
    const std::size_t periods = std::max<std::size_t>(5, (needed + kNodes - 1) / kNodes);
    for (std::size_t i = 1; i < periods; ++i) host.step();
    const auto& loads = host.step().loads;
    EXPECT_LE(*std::max_element(loads.begin(), loads.end()), near) << idle << " idle nodes, " << needed << " moves";
    for (int i = 0; i < 30; ++i) host.step();
    const std::size_t moves = host.moves;
    for (int i = 0; i < 60; ++i) EXPECT_LE(host.step().imbalance_after, 0.10);
    EXPECT_EQ(host.moves, moves);
  }
}

struct FairnessCase {
  const char* name;
  std::size_t nodes;
  unsigned processors;
  std::vector<std::uint64_t> shares;  // of each guest
  unsigned threads;                   // of each, all busy
  bool turns;                         // no static placement is within 10 %
  bool weighted = false;              // shares within a node: threads have weights
};

// Hours of guests that want more than there is. All start on node 0.
TEST(RebalanceSim, CpuTimeFollowsEntitlement) {
  const FairnessCase cases[] = {
      {"3 on 2 x 1", 2, 1, {1, 1, 1}, 1, true},
      {"5 on 2 x 2", 2, 2, {1, 1, 1, 1, 1}, 1, true},
      {"7 on 3 x 2", 3, 2, {1, 1, 1, 1, 1, 1, 1}, 1, true},
      {"10 on 4 x 2", 4, 2, std::vector<std::uint64_t>(10, 1), 1, true},
      {"3 of two threads on 2 x 2", 2, 2, {1, 1, 1}, 2, true},
      {"17 on 2 x 8", 2, 8, std::vector<std::uint64_t>(17, 1), 1, true},
      {"23 on 2 x 11 are within 10 %", 2, 11, std::vector<std::uint64_t>(23, 1), 1, false},
      {"4 on 2 x 1", 2, 1, {1, 1, 1, 1}, 1, false},
      {"2:1:1, one alone", 2, 1, {2, 1, 1}, 1, false},
      {"2:2:1:1:1:1 on 4 x 1, two alone", 4, 1, {2, 2, 1, 1, 1, 1}, 1, false},
      {"4:3:3, one alone 60 % of the time", 2, 1, {4, 3, 3}, 1, true},
      {"7:7:6", 2, 1, {7, 7, 6}, 1, true},
      {"96 on 64 x 1", 64, 1, std::vector<std::uint64_t>(96, 1), 1, true},
      {"weighted 3 on 2 x 1", 2, 1, {1, 1, 1}, 1, true, true},
      {"weighted 3 of two threads on 2 x 2", 2, 2, {1, 1, 1}, 2, true, true},
      {"weighted 4:3:3", 2, 1, {4, 3, 3}, 1, true, true},
      {"weighted 23 on 2 x 11", 2, 11, std::vector<std::uint64_t>(23, 1), 1, false, true},
      {"weighted 2:2:1:1", 2, 1, {2, 2, 1, 1}, 1, false, true},
      {"weighted 4:2:1:1", 2, 1, {4, 2, 1, 1}, 1, false, true},
      {"weighted 8:3:1:1:1", 2, 1, {8, 3, 1, 1, 1}, 1, false, true},
      {"weighted 7:7:4:2, two change places", 2, 1, {7, 7, 4, 2}, 1, true, true},
      {"weighted 500:200:50:50:10:10:10:10 on 1 x 1", 1, 1, {500, 200, 50, 50, 10, 10, 10, 10}, 1, false, true},
      {"weighted 9:3:1 of four threads on 1 x 4", 1, 4, {9, 3, 1}, 4, false, true},
  };
  for (const FairnessCase& c : cases) {
    NumaHost host(c.nodes, c.processors);
    host.options.weighted = c.weighted;
    for (const std::uint64_t shares : c.shares) {
      SimGuest guest;
      guest.shares = shares;
      guest.threads = c.threads;
      guest.demand = c.threads;
      host.add(guest);
    }
    for (int i = 0; i < kHour; ++i) host.step();
    host.reset_totals();
    const std::size_t moves = host.moves;
    expect_rest(host, 3 * kHour, c.name);
    EXPECT_EQ(host.moves > moves, c.turns) << c.name;
    for (std::size_t g = 0; g < host.guests.size(); ++g)
      EXPECT_NEAR(host.guests[g].received / host.guests[g].entitled, 1, 0.05) << c.name << ", guest " << g;
  }
}

// Any shares and any numbers of threads. On small nodes with few guests the turns may be too few: one host in twenty
// may be off by more than 5 %, and nobody gets less than nine tenths of its own.
TEST(RebalanceSim, WithWeightsCpuTimeFollowsAnyShares) {
  const auto seed = test::seed_or(1);  // bounds on how many of so many
  SCOPED_TRACE(test::seed_note(seed));
  base::Random random(seed);
  constexpr int kHosts = 100;
  int exact = 0;
  for (int round = 0; round < kHosts; ++round) {
    const std::size_t nodes = 1 + random.below(4);
    const unsigned processors = 1 + static_cast<unsigned>(random.below(4));
    NumaHost host(nodes, processors);
    host.options.weighted = true;
    const std::size_t places = nodes * processors;
    const std::size_t guests = places + 1 + random.below(3 * places);
    for (std::size_t g = 0; g < guests; ++g) {
      SimGuest guest;
      guest.shares = 1 + random.below(8);
      guest.threads = 1 + static_cast<unsigned>(random.below(processors));
      guest.demand = guest.threads;
      host.add(guest);
    }
    const std::string what = std::to_string(guests) + " guests on " + std::to_string(nodes) + " x " +
                             std::to_string(processors);
    for (int i = 0; i < kHour; ++i) host.step();
    host.reset_totals();
    for (int i = 0; i < 3 * kHour; ++i) host.step();
    double least = 1, most = 1;
    for (const SimGuest& guest : host.guests) {
      least = std::min(least, guest.received / guest.entitled);
      most = std::max(most, guest.received / guest.entitled);
    }
    EXPECT_GE(least, 0.94) << what;
    EXPECT_LE(most, 1.08) << what;
    exact += least >= 0.95 && most <= 1.05 ? 1 : 0;
  }
  EXPECT_GE(exact, kHosts - kHosts / 50);
}

// Nodes of different sizes, one without processors, with little memory to spare; guests that may not go everywhere, with
// loads that change. What is homed on a node has room there, with what is on its way.
TEST(RebalanceSim, EveryHomeIsAllowedAndHasRoom) {
  const auto seed = test::seed();
  SCOPED_TRACE(test::seed_note(seed));
  base::Random random(seed);
  std::size_t moves = 0;
  for (int round = 0; round < 12; ++round) {
    const std::size_t nodes = 3 + random.below(6);
    const int memory_only = static_cast<int>(nodes) - 1;
    NumaHost host(nodes, 4, 16 * GiB);
    for (auto& node : host.snapshot().nodes) {
      node.memory = node.free = (8 + random.below(16)) * GiB;
      node.processors = node.id == memory_only ? 0 : 2 + static_cast<unsigned>(random.below(14));
      node.memory_only = node.id == memory_only;
    }
    std::vector<std::uint64_t> homed(nodes);
    std::vector<std::vector<int>> allowed;
    for (std::size_t i = 0; i < 8 * nodes; ++i) {
      SimGuest guest;
      guest.home = static_cast<int>(random.below(nodes - 1));
      guest.memory = (256 + random.below(3072)) * MiB;
      const auto home = static_cast<std::size_t>(guest.home);
      const auto memory = host.snapshot().nodes[home].memory;
      if (homed[home] + guest.memory > memory / 100 * 85) continue;
      homed[home] += guest.memory;
      guest.threads = 1 + static_cast<unsigned>(random.below(3));
      guest.demand = guest.threads * random.unit();
      host.add(guest);
      std::vector<int> affinity;
      if (random.below(2) == 0)
        for (int n = 0; n < static_cast<int>(nodes); ++n)
          if (n == guest.home || random.below(2) == 0) affinity.push_back(n);
      host.snapshot().guests.back().affinity = affinity;
      allowed.push_back(affinity);
    }
    const auto check = [&](int period) {
      std::vector<std::uint64_t> needed(nodes);
      for (std::size_t g = 0; g < host.guests.size(); ++g) {
        const int home = host.guests[g].home;
        ASSERT_NE(home, memory_only);
        if (!allowed[g].empty()) {
          ASSERT_NE(std::find(allowed[g].begin(), allowed[g].end(), home), allowed[g].end());
        }
        needed[static_cast<std::size_t>(home)] += host.guests[g].memory;
      }
      for (std::size_t n = 0; n < nodes; ++n)
        ASSERT_LE(needed[n], host.snapshot().nodes[n].memory)
            << "node " << n << " of " << nodes << ", round " << round << ", period " << period;
    };
    for (int period = 0; period < kHour; ++period) {
      if (period % 50 == 0)
        for (SimGuest& guest : host.guests)
          if (random.below(3) == 0) guest.demand = guest.threads * random.unit();
      host.step();
      check(period);
      if (HasFatalFailure()) return;
    }
    moves += host.moves;
  }
  EXPECT_GT(moves, 100U);
}

// Who does not ask for its part does not take part: its rest is the others', by shares.
TEST(RebalanceSim, FairAmongThoseWhoAsk) {
  NumaHost host(2, 2);
  for (int i = 0; i < 7; ++i) {
    SimGuest guest;
    guest.demand = i < 5 ? 1 : 0;
    host.add(guest);
  }
  for (int i = 0; i < kHour; ++i) host.step();
  host.reset_totals();
  for (int i = 0; i < 2 * kHour; ++i) host.step();
  for (std::size_t g = 0; g < 5; ++g) {
    EXPECT_NEAR(host.guests[g].received / host.guests[g].entitled, 1, 0.05) << g;
    EXPECT_NEAR(host.guests[g].entitled, 0.8 * 2 * 2 * kHour, 1) << g;
  }
  EXPECT_EQ(host.guests[5].moves + host.guests[6].moves, 0U) << "idle guests are not moved about";
}

// A guest that is moved away by a load that comes and goes has little of its memory dragged along.
TEST(RebalanceSim, MemoryFollowsWhoStays) {
  NumaHost host(2, 4);
  for (const int home : {0, 0, 1}) {
    SimGuest guest;
    guest.home = home;
    guest.demand = 2;
    guest.threads = 2;
    guest.memory = 8 * GiB;
    host.add(guest);
  }
  host.guests[2].demand = 0;
  host.step();
  ASSERT_EQ(host.moves, 1U);
  const std::size_t moved = host.guests[0].moves > 0 ? 0 : 1;
  host.step();
  host.step();
  EXPECT_GE(host.remote(moved), 8 * GiB * 95 / 100);
  EXPECT_LT(host.remote(moved), 8 * GiB);
  for (int i = 0; i < 8; ++i) host.step();
  EXPECT_LE(host.remote(moved), 8 * GiB / 100);
}

}  // namespace
}  // namespace vmm::sim
