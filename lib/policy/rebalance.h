// Rebalance: which guests get another home node. For one call a rebalance period.
//
// The load of a node is what the guests homed there are entitled to of the host's processors and want
// (policy/cpu_entitlement.h), as a part of the node's processors; a guest whose threads sleep is no load. An imbalance
// is a difference of load relative to the mean load, or to half the processors where the mean is less: a host that is
// nearly idle is left alone. In this order (as ESX does; vSphere Resource Management, "Using NUMA Systems with ESXi"):
//   1. Balance. While the imbalance between a node and the least loaded one that may take a guest of it is above
//      `imbalance`, or the node is loaded above its processors by half of that, the guest is moved that lowers the
//      higher load of the two most; each percentage point of its memory that is on the destination already counts as
//      `locality_weight` percent of that. It must be lowered by `improvement`, by this guest or by it and others of its
//      node that are as small.
//   2. Swap. Where no move helps: two guests change places, under the same conditions.
// Where moves and swaps one after the other would leave an imbalance, as they may with few large guests of unequal
// size, and guests laid out anew would not, they are laid out anew (policy/rebalance_pack.h), several in a plan, and
// several plans if need be; none of them fills a node above its processors where somebody is owed anything.
//   3. Fairness. Where neither helps, since guests are not divisible, some get less than they are entitled to, and
//      others more. Then, one guest a fairness interval, guests take turns: the move is made that gives most to those
//      who are owed most (the max-weight rule: Tassiulas & Ephremides, IEEE Transactions on Automatic Control 37(12),
//      1992), but none that leaves processors idle.
//
// What it keeps to: a home is a node with processors, in the guest's affinity, with free memory for what the guest
// holds and does not have there, and for its reservation. A guest that moved stays for `cool_down`, and does not go
// back for balance's sake for `return_guard`. For balance's sake no node is filled above its processors (by more than
// half of `imbalance`) unless it ends no more loaded than the other and nobody there is owed anything, and no guest
// comes by a swap onto a node that stays so: nobody is taken below what it is owed.
//
// Within a node the kernel divides processors among threads, each equally, and knows no shares. Without `weighted`,
// shares act only by which guests sit together: a guest with few threads among guests with many, or with many shares
// among guests with few, gets less than it is entitled to, also where all nodes are equally loaded. With `weighted`,
// threads have the weights of policy/thread_weights.h; then all guests of a node get the same part of what they are
// entitled to, and guests take turns, alone or two that change places, wherever some would get less than they are
// entitled to, or more, by half of `imbalance`.
//
// The best placement of all is a hard question (multiprocessor scheduling is NP-hard), and not looked for.
//
// Thread-safety: pure function of its arguments. O(n log n) in guests, and a look at the guests of two nodes for each
// move. Neither the order of nodes nor of guests matters; ids must be unique.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace vmm::policy {

struct RebalanceNode {
  int id = 0;
  unsigned processors = 0;
  std::uint64_t memory = 0;  // bytes
  std::uint64_t free = 0;    // bytes
  bool memory_only = false;
};

struct RebalanceGuest {
  std::uint64_t id = 0;
  std::string name;                    // for reasons; empty: its id is told
  int home = -1;                       // a guest whose home is none of the nodes, or memory-only, is left alone
  std::uint64_t shares = 1;            // 0 counts as 1
  double used = 0;                     // processors its attached threads had, over the time since the last plan
  double wanted = 0;                   // the same and the time they waited for a processor; at least what it used
  unsigned threads = 0;                // attached
  std::uint64_t resident = 0;          // bytes
  std::vector<std::uint64_t> by_node;  // of these, in the order of the snapshot's nodes; empty: not known
  std::uint64_t reservation = 0;       // bytes
  bool movable = true;                 // false: switched off, or bound to its node
  std::vector<int> affinity;           // allowed nodes; empty: all

  // History. After a move: the plan's `now`, and the node it left.
  std::optional<std::chrono::nanoseconds> last_move;
  int came_from = -1;
  double owed = 0;  // CPU seconds: from the last plan, 0 at first
};

// Carried from plan to plan.
struct RebalanceHistory {
  std::uint64_t periods = 0;        // plans made
  std::uint64_t last_swap = 0;      // the number of the plan that swapped last; 0: none
  std::uint64_t last_fairness = 0;  // that moved a guest for fairness
  std::uint64_t last_packing = 0;   // that laid guests out anew, in whole or in part
  std::map<std::uint64_t, int> layout{};  // guests by id that it has yet to move, and the nodes
};

struct RebalanceSnapshot {
  std::chrono::nanoseconds now{};                             // of a clock that does not go back
  std::chrono::nanoseconds elapsed{std::chrono::seconds(2)};  // since the last plan
  std::vector<RebalanceNode> nodes;
  std::vector<RebalanceGuest> guests;
  RebalanceHistory history;
};

struct RebalanceOptions {
  double imbalance = 0.10;         // needed before a guest is moved
  double improvement = 0.02;       // of the same measure, what a move is worth at least
  bool swap = true;                // two guests may change places
  unsigned swap_interval = 3;      // periods between plans that swap
  unsigned fairness_interval = 5;  // periods between moves for fairness; 0: none
  double locality_weight = 1;      // 0: where a guest's memory is does not matter
  std::chrono::nanoseconds cool_down{std::chrono::seconds(30)};
  std::chrono::nanoseconds return_guard{std::chrono::seconds(60)};
  bool weighted = false;  // within a node threads have weights by entitlement (policy/thread_weights.h)
  unsigned max_moves = 4;  // guests moved by one plan; a swap counts as two
  double min_free = 0.06;  // share of a node's memory that moves leave free
};

enum class RebalanceWhy : std::uint8_t { balance, swap, fairness };

// Both guests of a swap have a move, one after the other.
struct RebalanceMove {
  std::size_t guest = 0;  // index in the snapshot
  int from = -1;
  int to = -1;
  RebalanceWhy why = RebalanceWhy::balance;
  std::optional<std::size_t> swapped_with;  // the other guest of a swap
  std::string reason;                       // with figures
};

struct RebalancePlan {
  std::vector<RebalanceMove> moves;  // to be made in this order; no guest twice
  double imbalance = 0;              // between the most and the least loaded node, before the moves
  double imbalance_after = 0;
  std::string reason;  // why no further guest is moved, with figures

  // In the order of the snapshot:
  std::vector<double> loads;         // of nodes, before the moves; 0 of memory-only ones
  std::vector<double> entitlements;  // of guests, processors
  std::vector<double> owed;          // of guests, CPU seconds it was entitled to and did not get, less what it got
                                     // beyond; what all lack alike is not counted
  RebalanceHistory history;
};

RebalancePlan plan_rebalance(const RebalanceSnapshot& snapshot, const RebalanceOptions& options = {});

}  // namespace vmm::policy
