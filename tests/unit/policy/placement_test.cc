#include "policy/placement.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "vmm/units.h"

namespace vmm::policy {
namespace {

PlacementSnapshot machine(int nodes, std::uint64_t memory_each) {
  PlacementSnapshot s;
  s.min_free = 0.0;
  for (int id = 0; id < nodes; ++id) s.nodes.push_back({id, memory_each});
  return s;
}

// Places guests one after the other as a host does. Returns their nodes; -1 = refused.
std::vector<int> place_all(PlacementSnapshot s, int guests, std::uint64_t memory, std::uint64_t reservation) {
  std::vector<int> homes;
  s.memory = memory;
  s.reservation = reservation;
  for (int i = 0; i < guests; ++i) {
    const Placement p = plan_placement(s);
    homes.push_back(p.node.value_or(-1));
    s.last_node = p.last_node;
    if (!p.node) continue;
    for (PlacementNode& node : s.nodes) {
      if (node.id != *p.node) continue;
      node.promised += memory;
      node.reserved += reservation;
    }
  }
  return homes;
}

TEST(Placement, GoesRoundTheNodes) {
  struct Case {
    int nodes;
    std::vector<int> homes;
  };
  for (const Case& c :
       {Case{1, {0, 0, 0, 0, 0}}, Case{2, {0, 1, 0, 1, 0}}, Case{4, {0, 1, 2, 3, 0}}, Case{8, {0, 1, 2, 3, 4}}})
    EXPECT_EQ(place_all(machine(c.nodes, 64 * GiB), 5, GiB, 0), c.homes) << c.nodes;
}

TEST(Placement, GoesOnRoundTheNodesWhenAllAreOvercommitted) {
  EXPECT_EQ(place_all(machine(2, 4 * GiB), 6, 3 * GiB, 0), (std::vector<int>{0, 1, 0, 1, 0, 1}));
}

TEST(Placement, StopsWhenReservationsAreUsedUp) {
  EXPECT_EQ(place_all(machine(2, 4 * GiB), 6, 4 * GiB, 2 * GiB), (std::vector<int>{0, 1, 0, 1, -1, -1}));
}

TEST(Placement, Table) {
  struct Case {
    const char* name;
    std::vector<PlacementNode> nodes;
    int last_node;
    std::uint64_t memory;
    std::uint64_t reservation;
    bool bound;
    std::vector<int> affinity;
    std::optional<int> node;
    bool wide;
    std::vector<const char*> says;
  };
  const std::vector<PlacementNode> two = {{0, 4 * GiB, 0, 0, false}, {1, 4 * GiB, 0, 0, false}};
  const std::vector<PlacementNode> unequal = {{0, 2 * GiB, 0, 0, false}, {1, 8 * GiB, 0, 0, false}};
  const std::vector<PlacementNode> with_memory_only = {
      {0, 4 * GiB, 0, 0, false}, {1, 64 * GiB, 0, 0, true}, {2, 4 * GiB, 0, 0, false}};
  const std::vector<PlacementNode> promised = {{0, 4 * GiB, 3 * GiB, 0, false}, {1, 4 * GiB, 1 * GiB, 0, false}};
  const std::vector<PlacementNode> reserved = {{0, 4 * GiB, 4 * GiB, 4 * GiB, false},
                                               {1, 4 * GiB, 3 * GiB, 1 * GiB, false}};
  const Case cases[] = {
      {"first", two, -1, GiB, 0, false, {}, 0, false, {"node 0: next in turn", "1 GiB", "4 GiB usable"}},
      {"after the last", two, 0, GiB, 0, false, {}, 1, false, {"node 1"}},
      {"wraps", two, 1, GiB, 0, false, {}, 0, false, {"node 0"}},
      {"the last one chosen is gone", two, 7, GiB, 0, false, {}, 0, false, {}},
      {"exactly full", two, -1, 4 * GiB, 4 * GiB, false, {}, 0, false, {}},
      {"too small a node",
       unequal,
       -1,
       3 * GiB,
       0,
       false,
       {},
       1,
       false,
       {"node 0 skipped: guest of 3 GiB is larger than its 2 GiB"}},
      {"memory-only",
       with_memory_only,
       0,
       GiB,
       0,
       false,
       {},
       2,
       false,
       {"node 1 skipped: has memory but no processors"}},
      {"affinity", two, -1, GiB, 0, false, {1}, 1, false, {"node 0 skipped: not in the affinity 1"}},
      {"affinity in turn", two, 1, GiB, 0, false, {1}, 1, false, {}},
      {"affinity to a memory-only node",
       with_memory_only,
       -1,
       GiB,
       0,
       false,
       {1},
       std::nullopt,
       false,
       {"refused: no node may be its home", "has memory but no processors"}},
      {"affinity to no node at all", two, -1, GiB, 0, false, {9}, std::nullopt, false, {"not in the affinity 9"}},
      {"prefers a node that holds it in full",
       promised,
       -1,
       2 * GiB,
       0,
       false,
       {},
       1,
       false,
       {"node 0 skipped: guest of 2 GiB does not fit in full beside 3 GiB promised of 4 GiB usable"}},
      {"overcommits in turn when none does",
       promised,
       0,
       4 * GiB,
       0,
       false,
       {},
       1,
       false,
       {"overcommitted", "node 0 skipped"}},
      {"reservation elsewhere",
       reserved,
       -1,
       2 * GiB,
       GiB,
       false,
       {},
       1,
       false,
       {"node 0 skipped: reservation of 1 GiB does not fit beside 4 GiB reserved of 4 GiB usable"}},
      {"no room for the reservation",
       reserved,
       -1,
       4 * GiB,
       4 * GiB,
       false,
       {},
       std::nullopt,
       false,
       {"refused: no node can hold it", "node 0 skipped", "node 1 skipped", "beside 1 GiB reserved"}},
      {"wide",
       promised,
       -1,
       6 * GiB,
       0,
       false,
       {},
       1,
       true,
       {"larger than any allowed node", "least promised, 1 GiB of 4 GiB"}},
      {"wide, a tie goes in turn", two, 0, 6 * GiB, 0, false, {}, 1, true, {}},
      {"wide because of the affinity",
       unequal,
       -1,
       4 * GiB,
       0,
       false,
       {0},
       0,
       true,
       {"node 1 skipped: not in the affinity 0"}},
      {"wide with a reservation on both", two, -1, 8 * GiB, 8 * GiB, false, {}, 0, true, {}},
      {"wide, reservation too large",
       two,
       -1,
       9 * GiB,
       9 * GiB,
       false,
       {},
       std::nullopt,
       false,
       {"refused: reservation of 9 GiB does not fit beside 0 bytes reserved of 8 GiB usable on all allowed nodes"}},
      {"wide and bound", two, -1, 6 * GiB, 0, true, {}, std::nullopt, false, {"refused: the guest is bound"}},
      {"bound that fits", two, -1, 4 * GiB, 0, true, {}, 0, false, {}},
      {"no nodes", {}, -1, GiB, 0, false, {}, std::nullopt, false, {"refused"}},
      {"a node without memory", {{0, 0, 0, 0, false}}, -1, GiB, 0, false, {}, std::nullopt, false, {"has no memory"}},
      {"sizes near the end of the type",
       two,
       -1,
       std::numeric_limits<std::uint64_t>::max(),
       std::numeric_limits<std::uint64_t>::max(),
       false,
       {},
       std::nullopt,
       false,
       {"refused"}},
  };
  for (const Case& c : cases) {
    PlacementSnapshot s;
    s.nodes = c.nodes;
    s.min_free = 0.0;
    s.last_node = c.last_node;
    s.memory = c.memory;
    s.reservation = c.reservation;
    s.bound = c.bound;
    s.affinity = c.affinity;
    const Placement p = plan_placement(s);
    EXPECT_EQ(p.node, c.node) << c.name << ": " << p.reason;
    EXPECT_EQ(p.wide, c.wide) << c.name;
    EXPECT_EQ(p.last_node, c.node.value_or(c.last_node)) << c.name;
    EXPECT_FALSE(p.reason.empty()) << c.name;
    for (const char* part : c.says) EXPECT_NE(p.reason.find(part), std::string::npos) << c.name << ": " << p.reason;
  }
}

TEST(Placement, TheFreeShareIsNotGivenAway) {
  PlacementSnapshot s = machine(2, 100 * GiB);
  s.min_free = 0.06;
  s.memory = 94 * GiB;
  s.reservation = 94 * GiB;
  EXPECT_EQ(plan_placement(s).node, 0);
  s.memory = s.reservation = 95 * GiB;
  const Placement p = plan_placement(s);
  EXPECT_FALSE(p.node.has_value());
  EXPECT_NE(p.reason.find("94 GiB usable"), std::string::npos) << p.reason;
}

TEST(Placement, TheOrderOfTheNodesInTheSnapshotDoesNotMatter) {
  PlacementSnapshot s = machine(4, 4 * GiB);
  s.memory = GiB;
  s.last_node = 1;
  std::swap(s.nodes[0], s.nodes[3]);
  std::swap(s.nodes[1], s.nodes[2]);
  EXPECT_EQ(plan_placement(s).node, 2);
}

TEST(Placement, ReasonsOfLargeMachinesStayReadable) {
  PlacementSnapshot s = machine(64, 4 * GiB);
  s.memory = GiB;
  s.affinity = {63};
  const Placement p = plan_placement(s);
  EXPECT_EQ(p.node, 63);
  EXPECT_NE(p.reason.find("node 7 skipped"), std::string::npos);
  EXPECT_NE(p.reason.find("55 more skipped"), std::string::npos) << p.reason;
}

// Whatever the mixture, reservations on a node never exceed what is usable there but for a wide guest's.
TEST(Placement, ReservationsNeverExceedANode) {
  for (const std::uint64_t reservation : {0 * MiB, 100 * MiB, 700 * MiB, 1024 * MiB}) {
    PlacementSnapshot s = machine(4, 2 * GiB);
    s.min_free = 0.06;
    s.memory = GiB;
    s.reservation = reservation;
    for (int i = 0; i < 100; ++i) {
      const Placement p = plan_placement(s);
      if (!p.node) break;
      s.last_node = p.last_node;
      PlacementNode& home = s.nodes[static_cast<std::size_t>(*p.node)];
      home.promised += s.memory;
      home.reserved += s.reservation;
      EXPECT_LE(home.reserved, 2 * GiB * 94 / 100) << p.reason;
    }
  }
}

TEST(Placement, ByLoadAndDistance) {
  struct Case {
    const char* name;
    std::vector<PlacementNode> nodes;
    std::uint64_t memory;
    std::optional<int> node;
    bool wide;
    const char* says;
  };
  const Case cases[] = {
      {"no node differs", {{1, 4 * GiB}, {0, 4 * GiB}}, GiB, 0, false, "node 0: least burdened, burden 0.25"},
      {"less load",
       {{0, 4 * GiB, 0, 0, false, 0.5}, {1, 4 * GiB, 0, 0, false, 0.4}},
       GiB,
       1,
       false,
       "node 0 skipped: burden 0.75: load 0.50, 0.25 of its memory promised with the guest; mean distance 0.0"},
      {"less promised", {{0, 4 * GiB, GiB}, {1, 4 * GiB}}, GiB, 1, false, ""},
      {"less relative to its size", {{0, 4 * GiB, GiB}, {1, 16 * GiB, 2 * GiB}}, GiB, 1, false, ""},
      {"both count", {{0, 4 * GiB, GiB, 0, false, 0.2}, {1, 4 * GiB, 0, 0, false, 0.5}}, GiB, 0, false, "0.70"},
      {"nearer to the others",
       {{0, 4 * GiB, 0, 0, false, 0.1, 20}, {1, 4 * GiB, 0, 0, false, 0.105, 16}, {2, 4 * GiB, 0, 0, false, 0.1, 25}},
       GiB,
       1,
       false,
       "mean distance 16.0"},
      {"nearer, but burdened",
       {{0, 4 * GiB, 0, 0, false, 0.1, 20}, {1, 4 * GiB, 0, 0, false, 0.12, 16}},
       GiB,
       0,
       false,
       ""},
      {"memory-only", {{0, 4 * GiB, 0, 0, true}, {1, 4 * GiB, 0, 0, false, 0.9}}, GiB, 1, false, ""},
      {"one that holds it in full first",
       {{0, 4 * GiB, 3 * GiB + 1}, {1, 4 * GiB, 0, 0, false, 3.0}},
       GiB,
       1,
       false,
       "does not fit in full"},
      {"overcommitted",
       {{0, 4 * GiB, 4 * GiB, 0, false, 0.3}, {1, 4 * GiB, 4 * GiB, 0, false, 0.2}},
       GiB,
       1,
       false,
       "least burdened, overcommitted"},
      {"wide",
       {{0, 4 * GiB, 0, 0, false, 0.9}, {1, 4 * GiB, 2 * GiB, 0, false, 0.2}},
       5 * GiB,
       1,
       true,
       "least burdened"},
      {"a load that is no number",
       {{0, 4 * GiB, 0, 0, false, std::numeric_limits<double>::quiet_NaN()}, {1, 4 * GiB, 0, 0, false, 0.9}},
       GiB,
       1,
       false,
       ""},
      {"no node", {}, GiB, std::nullopt, false, "refused"},
  };
  for (const Case& c : cases) {
    PlacementSnapshot s;
    s.rule = PlacementRule::load_and_distance;
    s.nodes = c.nodes;
    s.min_free = 0.0;
    s.memory = c.memory;
    for (const int last : {-1, 0, 1}) {
      s.last_node = last;
      const Placement p = plan_placement(s);
      EXPECT_EQ(p.node, c.node) << c.name << ": " << p.reason;
      EXPECT_EQ(p.wide, c.wide) << c.name;
      EXPECT_EQ(p.last_node, c.node.value_or(last)) << c.name;
      EXPECT_NE(p.reason.find(c.says), std::string::npos) << c.name << ": " << p.reason;
    }
    // In turn, neither counts.
    s.rule = PlacementRule::round_robin;
    for (PlacementNode& node : s.nodes) node.load = node.mean_distance = 0;
    const Placement without = plan_placement(s);
    for (PlacementNode& node : s.nodes) node.load = node.id, node.mean_distance = 9 - node.id;
    EXPECT_EQ(plan_placement(s).reason, without.reason) << c.name;
  }
}

}  // namespace
}  // namespace vmm::policy
