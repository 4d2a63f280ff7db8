// Rebalance search: the move, or the exchange of two guests, that a board of guests needs next.
// Thread-safety: one thread; the board and the options must outlive it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "policy/rebalance_board.h"

namespace vmm::policy {

// Guests and nodes of the board.
struct BoardMove {
  std::size_t guest = 0;
  std::size_t to = 0;
  std::optional<std::size_t> back;  // the guest that goes the other way
  double gain = 0;                  // of balance: how much the higher load falls; of fairness: see there
};

class RebalanceSearch {
 public:
  RebalanceSearch(const RebalanceBoard& board, const RebalanceOptions& options);

  // Lowers the load of the most loaded node that can be helped, onto the least loaded one that can help.
  std::optional<BoardMove> find_move();
  std::optional<BoardMove> find_swap();
  // The move that gives most CPU time to guests that are owed it, from guests that had more than their part: the sum
  // over guests of what they are owed times the processors they gain. None while no node is overloaded.
  std::optional<BoardMove> find_fair_move();
  // The same of two guests that change places, where threads have weights.
  std::optional<BoardMove> find_fair_swap();

  // All guests of a node that is loaded this much have what they are entitled to, but for half the imbalance allowed.
  double full() const noexcept { return 1 + options_.imbalance / 2; }

 private:
  struct Pair {
    std::size_t from, to;
  };
  // The difference of entitlement that a move or swap must carry, to be worth it.
  struct Bounds {
    double least, most;
  };

  template <class Find>
  std::optional<BoardMove> for_pairs(std::vector<std::uint64_t>& failed, Find&& find);
  std::optional<BoardMove> best_move(Pair pair);
  std::optional<BoardMove> best_swap(Pair pair);
  std::vector<std::size_t> paying_nodes(const std::vector<double>& owed) const;
  bool unbalanced(Pair pair) const;
  double gain(Pair pair, double carried) const;
  double ideal(Pair pair) const;
  bool better(double score, std::size_t guest, double than_score, std::size_t than) const;
  bool fills_too_much(Pair pair, double carried) const;
  bool leaves_short(Pair pair, std::size_t partner, double carried) const;
  Bounds bounds(Pair pair) const;
  bool look(std::size_t guests);

  const RebalanceBoard& board_;
  const RebalanceOptions& options_;
  // For each pair of nodes, how often they had changed when no move or swap was found; 0: not looked at.
  std::vector<std::uint64_t> no_move_, no_swap_;
  std::size_t looks_left_;
};

}  // namespace vmm::policy
