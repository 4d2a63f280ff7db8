#include "topology/topology.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include "os/affinity.h"
#include "os/call.h"
#include "os/file.h"
#include "os/node_info.h"
#include "support/fault_injector.h"
#include "vmm/units.h"

namespace vmm::topology {
namespace {

TEST(Topology, SyntheticMachinesOfOneTwoFourAndEightNodes) {
  for (const int count : {1, 2, 4, 8}) {
    const auto t = Topology::synthetic("node:" + std::to_string(count) + " core:2 pu:1");
    ASSERT_TRUE(t) << t.error().message();
    ASSERT_EQ(t->nodes().size(), static_cast<std::size_t>(count));
    for (int id = 0; id < count; ++id) {
      const Node* node = t->find(id);
      ASSERT_NE(node, nullptr);
      EXPECT_EQ(node->id, id);
      EXPECT_EQ(node->cpus, (std::vector<int>{2 * id, 2 * id + 1}));
      EXPECT_EQ(node->memory, GiB);
      EXPECT_FALSE(node->memory_only);
      for (int to = 0; to < count; ++to) EXPECT_EQ(t->distance(id, to), id == to ? 10 : 20);
    }
    EXPECT_EQ(t->find(count), nullptr);
    EXPECT_EQ(t->find(-1), nullptr);
  }
}

TEST(Topology, SyntheticMemorySizes) {
  const auto each = Topology::synthetic("numa:4(memory=8GB) core:2 pu:1");
  ASSERT_TRUE(each) << each.error().message();
  for (const Node& node : each->nodes()) EXPECT_EQ(node.memory, 8'000'000'000U);

  const auto one = Topology::synthetic("[numa(memory=8589934592)] core:2 pu:2");
  ASSERT_TRUE(one) << one.error().message();
  ASSERT_EQ(one->nodes().size(), 1U);
  EXPECT_EQ(one->nodes()[0].memory, 8 * GiB);
  EXPECT_EQ(one->nodes()[0].cpus.size(), 4U);
}

TEST(Topology, MemoryOnlyNodesKeepNoProcessor) {
  const auto t = Topology::synthetic("package:2 [numa(memory=4294967296)] [numa(memory=17179869184)] core:2 pu:1");
  ASSERT_TRUE(t) << t.error().message();
  ASSERT_EQ(t->nodes().size(), 4U);
  struct Case {
    int id;
    bool memory_only;
    std::vector<int> cpus;
    std::uint64_t memory;
  };
  for (const Case& c : {Case{0, false, {0, 1}, 4 * GiB}, Case{1, true, {}, 16 * GiB}, Case{2, false, {2, 3}, 4 * GiB},
                        Case{3, true, {}, 16 * GiB}}) {
    const Node* node = t->find(c.id);
    ASSERT_NE(node, nullptr) << c.id;
    EXPECT_EQ(node->memory_only, c.memory_only) << c.id;
    EXPECT_EQ(node->cpus, c.cpus) << c.id;
    EXPECT_EQ(node->memory, c.memory) << c.id;
  }
}

TEST(Topology, NodeNumbersNeedNotBeConsecutive) {
  const auto t = Topology::synthetic("node:2(indexes=3,1) pu:2");
  ASSERT_TRUE(t) << t.error().message();
  ASSERT_EQ(t->nodes().size(), 2U);
  EXPECT_EQ(t->nodes()[0].id, 1);
  EXPECT_EQ(t->nodes()[1].id, 3);
  EXPECT_EQ(t->find(3)->cpus, (std::vector<int>{0, 1}));
  EXPECT_EQ(t->find(2), nullptr);
  EXPECT_EQ(t->distance(1, 3), 20);
  EXPECT_EQ(t->distance(3, 3), 10);
  EXPECT_EQ(t->distance(3, 7), 20);
}

TEST(Topology, DistancesCanBeGivenUnequalInBothDirections) {
  auto t = Topology::synthetic("node:3 pu:1");
  ASSERT_TRUE(t);
  const auto set = t->set_distances({10, 12, 40, 14, 10, 21, 40, 21, 10});
  ASSERT_TRUE(set) << set.error().message();
  EXPECT_EQ(t->distance(0, 1), 12);
  EXPECT_EQ(t->distance(1, 0), 14);
  EXPECT_EQ(t->distance(0, 2), 40);
  EXPECT_EQ(t->distance(2, 2), 10);
}

TEST(Topology, BadDistancesAreRefusedAndChangeNothing) {
  auto t = Topology::synthetic("node:2 pu:1");
  ASSERT_TRUE(t);
  struct Case {
    const char* name;
    std::vector<int> matrix;
  };
  for (const Case& c : {Case{"too few", {10, 20, 20}}, Case{"none", {}}, Case{"below local", {10, 9, 20, 10}},
                        Case{"diagonal", {10, 20, 20, 11}}}) {
    const auto set = t->set_distances(c.matrix);
    ASSERT_FALSE(set) << c.name;
    EXPECT_EQ(set.error().code.value(), EINVAL) << c.name;
    EXPECT_FALSE(set.error().remedy.empty()) << c.name;
  }
  EXPECT_EQ(t->distance(0, 1), 20);
}

TEST(Topology, ABadDescriptionIsAnErrorThatNamesItAndPrintsNothing) {
  for (const char* description : {"", "bad", "node:0 pu:1", "node:2", "node:2(memory=2GB) core:1"}) {
    testing::internal::CaptureStderr();
    const auto t = Topology::synthetic(description);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << description;
    ASSERT_FALSE(t) << description;
    EXPECT_EQ(t.error().code.value(), EINVAL) << description;
    EXPECT_NE(t.error().operation.find(description), std::string::npos);
    EXPECT_FALSE(t.error().remedy.empty());
  }
}

TEST(Topology, TheLiveMachineAgreesWithTheKernelAndPrintsNothing) {
  const auto before = os::thread_affinity(0).value();
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  const auto t = Topology::discover();
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  ASSERT_TRUE(t) << t.error().message();
  EXPECT_EQ(os::thread_affinity(0).value(), before);

  const auto allowed = os::allowed_nodes();
  ASSERT_TRUE(allowed) << allowed.error().message();
  std::uint64_t memory = 0;
  std::size_t with_cpus = 0;
  std::vector<int> cpus;
  for (const Node& node : t->nodes()) {
    EXPECT_TRUE(std::binary_search(allowed->begin(), allowed->end(), node.id)) << node.id;
    EXPECT_EQ(node.memory_only, node.cpus.empty());
    EXPECT_EQ(t->distance(node.id, node.id), 10);
    memory += node.memory;
    with_cpus += node.memory_only ? 0 : 1;
    cpus.insert(cpus.end(), node.cpus.begin(), node.cpus.end());
  }
  EXPECT_GE(with_cpus, 1U);
  EXPECT_GT(memory, 0U);
  EXPECT_LE(memory, os::machine_memory().value() * 2);
  const auto online = os::read_small_file("/sys/devices/system/node/online");
  if (online && *online == "0\n") {
    EXPECT_GT(t->nodes()[0].memory, os::machine_memory().value() / 2) << "the only node has all memory";
  }
  std::sort(cpus.begin(), cpus.end());
  EXPECT_EQ(std::adjacent_find(cpus.begin(), cpus.end()), cpus.end()) << "a processor on two nodes";
  // This thread runs only where the nodes' processors are.
  EXPECT_TRUE(std::includes(cpus.begin(), cpus.end(), before.begin(), before.end()));
}

TEST(Topology, TheLiveMachineIsFoundWithoutProcAndSys) {
  const test::NthCallFails hidden(os::Call::read_file, 1, EACCES, test::NthCallFails::Repeat::forever);
  const auto t = Topology::discover();
  ASSERT_TRUE(t) << t.error().message();
  EXPECT_FALSE(t->nodes().empty());
  EXPECT_FALSE(t->nodes()[0].cpus.empty());
  EXPECT_GT(hidden.failed(), 0U);
}

TEST(Topology, AnotherMachinesDescriptionInTheEnvironmentIsNotTakenForThisOne) {
  ASSERT_EQ(::setenv("HWLOC_SYNTHETIC", "node:2 pu:2", 1), 0);
  const auto t = Topology::discover();
  ASSERT_EQ(::unsetenv("HWLOC_SYNTHETIC"), 0);
  ASSERT_FALSE(t);
  EXPECT_EQ(t.error().code.value(), ENODEV);
  EXPECT_NE(t.error().remedy.find("HWLOC_SYNTHETIC"), std::string::npos);
}

}  // namespace
}  // namespace vmm::topology
