// Rebalance board: the working copy of a snapshot on which a plan of rebalancing tries its moves.
//
// Nodes and guests are known by their place in ascending order of id, so that the order of the snapshot does not
// matter. Thread-safety: one thread; the snapshot, the entitlements and the options must outlive it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "policy/rebalance.h"

namespace vmm::policy {

// Guests that want less than this are idle: they are no load worth a move.
inline constexpr double kIdleProcessors = 0.005;
// CPU seconds. Who is owed less is owed nothing that moves should heed.
inline constexpr double kSlightlyOwed = 1.0;

// What of a guest is looked at often, together: the snapshot's guests are large and lie elsewhere.
struct BoardGuest {
  std::size_t index = 0;            // in the snapshot
  std::optional<std::size_t> node;  // none: its home is no node that could be one
  std::uint64_t shares = 1;
  double used = 0;                 // processors
  double wanted = 0;               // processors
  double entitled = 0;             // processors
  double owed = 0;                 // CPU seconds
  double parts = 1;                // in the division of its node's processors: its threads, or what they weigh
  double holds = 0;                // bytes: what it has or may not be without
  double reservation = 0;          // bytes
  std::size_t most_remote_on = 0;  // the node, not its home, that has most of its memory; in the snapshot
  double most_remote = 0;          // part of its memory that is there, 0..1
  double next_remote = 0;          // on any other node at most
  bool movable = false;            // now
  bool anywhere = true;            // no affinity
  bool scattered = false;          // where its memory is, is known
  bool moved = false;              // once: the snapshot knows when, and from where
};

struct BoardNode {
  std::size_t index = 0;  // in the snapshot
  double processors = 0;
  double entitled = 0;      // of the guests homed there, together
  double most_owed = 0;     // of its busy guests
  double free = 0;          // bytes that moves may use
  double unreserved = 0;    // bytes
  std::uint32_t moves = 0;  // that concerned it
  // Guests that may be moved now, by entitlement; who has moved is not among them any more.
  std::vector<std::size_t> candidates;

  double load() const noexcept { return entitled / processors; }
};

class RebalanceBoard {
 public:
  RebalanceBoard(const RebalanceSnapshot& snapshot, const RebalanceOptions& options);

  // In ascending order of id. Only nodes with processors.
  const std::vector<BoardNode>& nodes() const noexcept { return nodes_; }
  const std::vector<BoardGuest>& guests() const noexcept { return guests_; }
  const RebalanceGuest& of(const BoardGuest& guest) const { return snapshot_.guests[guest.index]; }
  const RebalanceNode& of(const BoardNode& node) const { return snapshot_.nodes[node.index]; }

  // The most that differences of load are measured against.
  double scale() const noexcept { return scale_; }
  // Between the most and the least loaded node.
  double imbalance() const;
  // Whether guests of a node get less by that part than they are entitled to, or those of another as much more, where
  // all guests of a node share its processors by their entitlement.
  bool unfair(double part) const;
  // Of the most loaded node.
  double most_load() const;
  // Part of the guest's memory that is on the node, not its home: 0..1. And a bound of it, told faster.
  double locality(std::size_t guest, std::size_t node) const;
  double locality_at_most(std::size_t guest, std::size_t node) const {
    const BoardGuest& g = guests_[guest];
    return nodes_[node].index == g.most_remote_on ? g.most_remote : g.next_remote;
  }
  // Whether the guest, a candidate, may be homed on the node: affinity, memory and reservation.
  bool fits(std::size_t guest, std::size_t node) const;
  // Whether it would go back where it came from too early.
  bool returns(std::size_t guest, std::size_t node) const;
  void move(std::size_t guest, std::size_t to);

 private:
  void add_nodes();
  void add_guests();
  void entitle();
  void settle_debts();
  void place();
  std::optional<std::size_t> node_of(int id) const;
  void find_remote(BoardGuest& guest) const;
  double could_use(const BoardGuest& guest) const;
  std::optional<std::uint64_t> bytes_on(std::size_t guest, std::size_t node) const;  // of its memory; none: not known
  double on_its_way(std::size_t guest) const;  // bytes that are elsewhere still and will follow it to its home
  double needs(std::size_t guest, std::size_t node) const;  // bytes of free memory

  const RebalanceSnapshot& snapshot_;
  const RebalanceOptions& options_;
  std::vector<BoardNode> nodes_;
  std::vector<BoardGuest> guests_;
  double most_processors_ = 0;  // of a node
  double scale_ = 1;
};

}  // namespace vmm::policy
