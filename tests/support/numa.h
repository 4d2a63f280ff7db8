// What tests need to know of a machine of several nodes, as the kernel tells it, and the reason to skip where there is
// one node only.
// Thread-safety: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/way.h"

namespace vmm::test {

// A list of numbers as in /sys, "0-3,8": of the nodes with memory, of those with processors, of a node's processors,
// and a node's distances in the order of all nodes. Empty if the kernel tells none.
std::vector<int> nodes_with_memory();
std::vector<int> nodes_with_processors();
std::vector<int> processors_of_node(int node);
std::vector<int> distances_from_node(int node);
// The kernel's MemTotal of the node, in bytes.
std::uint64_t memory_of_node(int node);
// What of that is to be had: free, or of files, which the kernel gives up for others' pages. In bytes.
std::uint64_t obtainable_on_node(int node);

// Of the pages from `start` on, how many are on the node.
std::uint64_t pages_on_node(const std::byte* start, std::uint64_t pages, int node);

// Those with memory and without processors.
std::vector<int> memory_only_nodes();
// The others: where guests may be at home.
std::vector<int> home_nodes();

// Why this machine cannot run tests of several nodes; empty if it can.
std::string unable_on_one_node();

class SeveralNodes : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = unable_on_one_node(); !why.empty()) GTEST_SKIP() << why;
  }
};

class SeveralNodesEachWay : public EachWay {
 protected:
  void SetUp() override {
    if (const auto why = unable_on_one_node(); !why.empty()) GTEST_SKIP() << why;
    EachWay::SetUp();
  }
};

}  // namespace vmm::test
