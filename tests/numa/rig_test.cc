// The machine that the other tests of several nodes run on: it is what it is taken for, and its kernel places and moves
// pages as it is asked to. Without that they would prove nothing.
#include <numaif.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "os/mapping.h"
#include "support/kernel_view.h"
#include "support/numa.h"
#include "support/pattern.h"
#include "topology/topology.h"
#include "vmm/units.h"

namespace vmm::test {
namespace {

struct Machine {
  int homes;
  std::vector<int> memory_only;
  std::vector<std::vector<int>> distances;
};

std::vector<std::vector<int>> all_equally_far(int nodes) {
  std::vector<std::vector<int>> rows;
  for (int i = 0; i < nodes; ++i) {
    rows.emplace_back(nodes, 20);
    rows.back()[static_cast<std::size_t>(i)] = 10;
  }
  return rows;
}

// What tests/vm/boot.sh builds.
const std::map<std::string, Machine> kMachines = {
    {"two_nodes", {2, {}, all_equally_far(2)}},
    {"four_nodes", {4, {}, {{10, 14, 20, 26}, {14, 10, 26, 20}, {20, 26, 10, 14}, {26, 20, 14, 10}}}},
    {"eight_nodes", {8, {}, all_equally_far(8)}},
    {"memory_only", {4, {4}, all_equally_far(5)}},
};

TEST(Rig, IsTheMachineItIsTakenFor) {
  const char* name = std::getenv("VMM_RIG");
  if (name == nullptr) GTEST_SKIP() << "not one of the project's virtual machines";
  ASSERT_EQ(kMachines.count(name), 1U) << name;
  const Machine& machine = kMachines.at(name);
  EXPECT_EQ(home_nodes().size(), static_cast<std::size_t>(machine.homes));
  EXPECT_EQ(memory_only_nodes(), machine.memory_only);
  std::vector<std::vector<int>> distances;
  for (const int node : nodes_with_memory()) distances.push_back(distances_from_node(node));
  EXPECT_EQ(distances, machine.distances);
}

class Nodes : public SeveralNodes {
 protected:
  // A mapping of small pages whose memory the kernel takes from one node only, filled.
  static os::Mapping filled_on(int node, std::uint64_t pages) {
    auto mapping = os::Mapping::guarded(pages * kPageSize);
    if (!mapping) {
      ADD_FAILURE() << mapping.error().message();
      return {};
    }
    const unsigned long mask = 1UL << node;
    os::advise_huge_pages(mapping->data(), mapping->size(), false);
    EXPECT_EQ(::mbind(mapping->data(), mapping->size(), MPOL_BIND, &mask, 8 * sizeof mask, 0), 0);
    for (std::uint64_t page = 0; page < pages; ++page) fill_page(mapping->data() + page * kPageSize, 1, page, 1);
    return std::move(*mapping);
  }
  // Of /proc/self/numa_maps: pages of the mapping on the node.
  static std::uint64_t pages_on_node(const std::byte* start, int node) {
    std::ifstream maps("/proc/self/numa_maps");
    for (std::string line; std::getline(maps, line);) {
      if (std::stoull(line, nullptr, 16) != reinterpret_cast<std::uintptr_t>(start)) continue;
      const auto field = " N" + std::to_string(node) + "=";
      const auto at = line.find(field);
      return at == std::string::npos ? 0 : std::stoull(line.substr(at + field.size()));
    }
    return 0;
  }
};

TEST_F(Nodes, TopologyIsWhatTheKernelSays) {
  const auto topology = topology::Topology::discover();
  ASSERT_TRUE(topology) << topology.error().message();
  std::vector<int> homes, memory_only;
  for (const auto& node : topology->nodes()) {
    (node.memory_only ? memory_only : homes).push_back(node.id);
    EXPECT_EQ(node.cpus, processors_of_node(node.id)) << "node " << node.id;
    EXPECT_EQ(node.memory, memory_of_node(node.id)) << "node " << node.id;
    std::vector<int> distances;
    for (const auto& to : topology->nodes()) distances.push_back(topology->distance(node.id, to.id));
    EXPECT_EQ(distances, distances_from_node(node.id)) << "node " << node.id;
  }
  EXPECT_EQ(homes, home_nodes());
  EXPECT_EQ(memory_only, memory_only_nodes());
}

TEST_F(Nodes, MbindDecidesWherePagesAre) {
  constexpr std::uint64_t kPages = 64;
  for (const int node : nodes_with_memory()) {
    const auto memory = filled_on(node, kPages);
    EXPECT_EQ(nodes_of_pages(memory.data(), kPages), std::vector<int>(kPages, node));
    EXPECT_EQ(pages_on_node(memory.data(), node), kPages);
  }
}

// To every other node and back. That the call returns 0 does not say that every page is there: the status does.
TEST_F(Nodes, MovePagesMovesPagesAndSaysSo) {
  constexpr std::uint64_t kPages = 64;
  const auto nodes = nodes_with_memory();
  const int home = nodes.front();
  const auto memory = filled_on(home, kPages);
  std::vector<void*> addresses(kPages);
  for (std::uint64_t page = 0; page < kPages; ++page) addresses[page] = memory.data() + page * kPageSize;
  // The policy binds what is allocated, not what is moved.
  const auto move_to = [&](int node) {
    const std::vector<int> targets(kPages, node);
    std::vector<int> status(kPages, -1);
    EXPECT_EQ(::move_pages(0, kPages, addresses.data(), targets.data(), status.data(), MPOL_MF_MOVE), 0);
    EXPECT_EQ(status, targets);
    EXPECT_EQ(nodes_of_pages(memory.data(), kPages), targets) << "asked again";
    EXPECT_EQ(pages_on_node(memory.data(), node), kPages);
    for (std::uint64_t page = 0; page < kPages; ++page)
      EXPECT_EQ(wrong_page(memory.data() + page * kPageSize, 1, page, 1), "");
  };
  for (const int node : nodes) {
    if (node == home) continue;
    move_to(node);
    move_to(home);
  }
}

}  // namespace
}  // namespace vmm::test
