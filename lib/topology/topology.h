// Topology: the NUMA nodes that this process may use, their processors, memory and distances, from hwloc:
// of the live machine, or of a machine described by a string.
// Thread-safety: a value; discover() and synthetic() may be called from any thread. Nothing is printed and no
// hwloc handle is kept.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmm/result.h"

namespace vmm::topology {

struct Node {
  int id = 0;                // the kernel's number of the node; numbers need not be consecutive
  std::vector<int> cpus;     // the kernel's numbers of its processors, ascending
  std::uint64_t memory = 0;  // bytes
  bool memory_only = false;  // no processor: never a home node
};

class Topology {
 public:
  // The machine this process runs on: nodes and processors that its cpuset allows. A machine without NUMA, or
  // a container that hides it, is one node 0 with all allowed processors.
  // Errors: ENODEV (nothing found), any errno of hwloc.
  static Result<Topology> discover();

  // A machine that does not exist, from hwloc's synthetic syntax, for tests and simulation:
  //   "node:4 core:2 pu:1"                          4 nodes of 2 processors, 1 GiB each (hwloc's default)
  //   "[numa(memory=8GB)] core:2 pu:2"              one node, 4 processors, 8 GB (decimal; or bytes)
  //   "package:2 [numa(memory=4294967296)] [numa(memory=17179869184)] core:2 pu:1"
  // Several nodes attached at one level share its processors in hwloc's view; only the first of them (by
  // number) keeps them here, the others are memory-only, which is how the kernel shows such machines.
  // Errors: EINVAL naming the description.
  static Result<Topology> synthetic(const std::string& description);

  // Ascending by id; at least one.
  const std::vector<Node>& nodes() const noexcept { return nodes_; }

  // nullptr if there is no such node.
  const Node* find(int id) const noexcept;

  // The firmware's relative distance, 10 = local; 10 and 20 where the machine tells none or a node is unknown.
  int distance(int from, int to) const noexcept;

  // Replaces the distances: row-major, nodes() order. For descriptions, which carry none.
  // Errors: EINVAL (not nodes * nodes values, a value below 10, or a diagonal that is not 10).
  Result<void> set_distances(const std::vector<int>& matrix);

 private:
  friend class HwlocReader;

  std::vector<Node> nodes_;
  std::vector<int> distances_;  // row-major; empty = default
};

}  // namespace vmm::topology
