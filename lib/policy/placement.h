// Initial placement: which node becomes the home of a new guest.
//
// By default round robin in ascending node number from the node after the last one chosen, over the nodes that can hold
// the guest (as ESX does; vSphere Resource Management, "Using NUMA Systems with ESXi"). In this order:
//   1. A node that holds the guest in full: the guest's memory, beside the memory promised to the guests
//      homed there, fits in the node's usable memory (its memory less the share min_free).
//   2. A node that holds the guest overcommitted: the guest's memory fits in the node's memory, and its
//      reservation, beside the reservations homed there, in the usable memory. What does not fit is swapped.
//   3. A guest larger than any allowed node ("wide") is homed where the least share of memory is promised, if
//      its reservation fits in what all allowed nodes together have not reserved. Its pages spill over by the
//      kernel's MPOL_PREFERRED; so a guest bound to its node (`bound`) is refused instead.
// By PlacementRule::load_and_distance the nodes are not taken in turn: of those that hold the guest equally well, by 1
// and 2, and of all allowed ones by 3, the one with the least burden is chosen,
//   load + (promised + memory of the guest) / memory of the node;
// of those within kEqualBurden of the least, the one that is nearest to the other nodes, then the lowest number. (Later
// ESX versions weigh load and latency too, and tell no formula.)
// Otherwise the guest is refused. Memory-only nodes and nodes outside the affinity are never chosen.
// Thread-safety: pure function of its argument: no clock, lock or system call.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace vmm::policy {

// Bytes. Guests count where they are homed.
struct PlacementNode {
  int id = 0;
  std::uint64_t memory = 0;
  std::uint64_t promised = 0;  // sum over guests homed here of memory, or limit where that is less
  std::uint64_t reserved = 0;  // sum of their reservations
  bool memory_only = false;
  double load = 0;           // part of its processors that is in use or waited for: 0-1, more where threads wait
  double mean_distance = 0;  // to the other nodes, as the firmware tells distances (10: local)
};

enum class PlacementRule : std::uint8_t { round_robin, load_and_distance };

inline constexpr double kEqualBurden = 0.01;

struct PlacementSnapshot {
  std::vector<PlacementNode> nodes;
  double min_free = 0.06;  // share of a node's memory that is not given away, 0-0.5
  int last_node = -1;      // the node chosen last; -1 at the beginning
  PlacementRule rule = PlacementRule::round_robin;

  // The guest to place.
  std::uint64_t memory = 0;  // or its limit where that is less
  std::uint64_t reservation = 0;
  bool bound = false;         // memory from the home node only
  std::vector<int> affinity;  // allowed nodes; empty = all
};

struct Placement {
  std::optional<int> node;  // none: refused
  bool wide = false;        // no node can hold all of it
  int last_node = -1;       // for the next snapshot: the chosen node, or unchanged after a refusal
  std::string reason;       // why this node, and why not each one before it, with figures
};

Placement plan_placement(const PlacementSnapshot& snapshot);

}  // namespace vmm::policy
