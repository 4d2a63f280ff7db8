#include "policy/rebalance.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "base/text.h"
#include "policy/rebalance_board.h"
#include "policy/rebalance_pack.h"
#include "policy/rebalance_search.h"

namespace vmm::policy {
namespace {

std::string format(const char* pattern, auto... values) {
  char text[256];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

class Planner {
 public:
  Planner(const RebalanceSnapshot& snapshot, const RebalanceOptions& options)
      : snapshot_(snapshot), options_(options), board_(snapshot, options), search_(board_, options) {}

  RebalancePlan plan() {
    tell_state();
    plan_.history = snapshot_.history;
    const std::uint64_t period = ++plan_.history.periods;
    if (packs_better()) {
      for (const auto& step : steps_towards(*packing_, board_, options_.max_moves, search_.full()))
        make({step.guest, step.to, std::nullopt, 0}, RebalanceWhy::balance);
      if (!plan_.moves.empty()) {
        plan_.history.last_packing = period;
        keep_layout();
      }
    }
    while (plan_.history.last_packing != period && plan_.moves.size() < options_.max_moves) {
      if (auto move = search_.find_move()) {
        make(*move, RebalanceWhy::balance);
        continue;
      }
      if (!may_swap()) break;
      auto swap = search_.find_swap();
      if (!swap) break;
      make(*swap, RebalanceWhy::swap);
      plan_.history.last_swap = period;
    }
    if (plan_.moves.empty() && may_be_fair()) {
      auto move = search_.find_fair_move();
      if (!move && options_.weighted && options_.swap && options_.max_moves >= 2) move = search_.find_fair_swap();
      if (move) {
        make(*move, RebalanceWhy::fairness);
        plan_.history.last_fairness = period;
      }
    }
    plan_.imbalance_after = board_.imbalance();
    plan_.reason = why_no_more();
    return std::move(plan_);
  }

 private:
  void tell_state() {
    plan_.imbalance = board_.imbalance();
    plan_.loads.resize(snapshot_.nodes.size());
    for (const BoardNode& node : board_.nodes()) plan_.loads[node.index] = node.load();
    plan_.entitlements.resize(snapshot_.guests.size());
    plan_.owed.resize(snapshot_.guests.size());
    for (const BoardGuest& guest : board_.guests()) {
      plan_.entitlements[guest.index] = guest.entitled;
      plan_.owed[guest.index] = guest.owed;
    }
  }

  // What is left of it for the next plan.
  void keep_layout() {
    auto& layout = plan_.history.layout;
    layout.clear();
    for (const BoardNode& node : board_.nodes())
      for (const auto g : node.candidates)
        if (packing_->node[g] != *board_.guests()[g].node)
          layout.emplace(board_.of(board_.guests()[g]).id, id(packing_->node[g]));
  }

  // Moves and swaps one after the other leave an imbalance that guests laid out anew would not have.
  bool packs_better() {
    if (board_.imbalance() <= options_.imbalance || options_.max_moves < 2 || !options_.swap) return false;
    const auto& h = plan_.history;
    if (!due(h.last_packing, options_.swap_interval) && h.last_packing + 1 != h.periods) return false;
    const bool goes_on = h.last_packing != 0 && h.last_packing + 1 == h.periods;
    packing_ = pack(board_, options_, goes_on ? h.layout : decltype(h.layout)());
    if (!packing_) return false;
    // What they would come to, however many they were: who has moved does not move again.
    RebalanceBoard tried(snapshot_, options_);
    RebalanceSearch search(tried, options_);
    for (auto move = search.find_move(); move || (move = search.find_swap()); move = search.find_move()) {
      const auto from = *tried.guests()[move->guest].node;
      tried.move(move->guest, move->to);
      if (move->back) tried.move(*move->back, from);
    }
    if (tried.imbalance() <= options_.imbalance) return false;
    // On the way there loads may be higher than before. That is worth it where it ends that somebody is short, or for
    // much; where it does not end it, guests take turns, which it must not undo.
    const double most = tried.most_load();
    double worth = options_.imbalance * (most > search_.full() ? 0.5 : 0.75);
    if (packing_->most > search_.full()) worth = 4 * options_.imbalance;
    if (goes_on) worth = options_.improvement;
    return packing_->most < most - std::max(worth, options_.improvement) * board_.scale();
  }

  bool due(std::uint64_t last, unsigned interval) const {
    return last == 0 || plan_.history.periods - last >= interval;
  }
  bool may_swap() const {
    const auto& h = plan_.history;
    // Several in one plan.
    return options_.swap && plan_.moves.size() + 2 <= options_.max_moves &&
           (h.last_swap == h.periods || due(h.last_swap, options_.swap_interval));
  }
  bool may_be_fair() const {
    return options_.fairness_interval > 0 && options_.max_moves > 0 &&
           (board_.imbalance() > options_.imbalance || (options_.weighted && board_.unfair(options_.imbalance / 2))) &&
           due(plan_.history.last_fairness, options_.fairness_interval);
  }

  std::string name(std::size_t guest) const {
    const RebalanceGuest& named = board_.of(board_.guests()[guest]);
    return named.name.empty() ? std::to_string(named.id) : named.name;
  }
  int id(std::size_t node) const { return board_.of(board_.nodes()[node]).id; }
  double load(std::size_t node) const { return board_.nodes()[node].load(); }

  void make(const BoardMove& move, RebalanceWhy why) {
    const std::size_t from = *board_.guests()[move.guest].node;
    const double before_from = load(from);
    const double before_to = load(move.to);
    std::string reason = told(move, from, move.to, why);
    std::string back_reason = move.back ? told({*move.back, from, move.guest, move.gain}, move.to, from, why) : "";
    board_.move(move.guest, move.to);
    if (move.back) board_.move(*move.back, from);
    const std::string after = format("; loads of nodes %d and %d: %.2f and %.2f, then %.2f and %.2f", id(from),
                                     id(move.to), before_from, before_to, load(from), load(move.to));
    const auto add = [&](std::size_t guest, std::size_t left, std::size_t to, std::optional<std::size_t> other,
                         std::string text) {
      RebalanceMove made;
      made.guest = board_.guests()[guest].index;
      made.from = id(left);
      made.to = id(to);
      made.why = why;
      if (other) made.swapped_with = board_.guests()[*other].index;
      made.reason = std::move(text) + after;
      plan_.moves.push_back(std::move(made));
    };
    add(move.guest, from, move.to, move.back, std::move(reason));
    if (move.back) add(*move.back, move.to, from, move.guest, std::move(back_reason));
  }

  // Before it is made.
  std::string told(const BoardMove& move, std::size_t from, std::size_t to, RebalanceWhy why) const {
    const BoardGuest& guest = board_.guests()[move.guest];
    std::string text = "guest " + name(move.guest) + format(" goes from node %d to node %d, ", id(from), id(to));
    switch (why) {
      case RebalanceWhy::balance:
        text += format("imbalance %.0f %%, improvement %.0f %%: ", 100 * (load(from) - load(to)) / board_.scale(),
                       100 * move.gain / board_.scale());
        break;
      case RebalanceWhy::swap:
        text += format("imbalance %.0f %%, improvement %.0f %%, for guest ",
                       100 * std::abs(load(from) - load(to)) / board_.scale(), 100 * move.gain / board_.scale()) +
                name(*move.back) + ", since no single move helps: ";
        break;
      case RebalanceWhy::fairness:
        if (move.back) {
          text += "in exchange for guest " + name(*move.back) +
                  format(", since guests of nodes loaded %.2f and %.2f get unequal parts: they are owed %.1f and %.1f CPU "
                         "seconds; ",
                         load(from), load(to), guest.owed, board_.guests()[*move.back].owed);
          break;
        }
        text += format(
            "in turn, at an imbalance of %.0f %%: it is owed %.1f CPU seconds, the others of "
            "node %d up to %.1f; ",
            100 * board_.imbalance(), guest.owed, id(from), board_.nodes()[from].most_owed);
        break;
    }
    return text +
           format("it is entitled to %.2f processors, and %.0f %% of its ", guest.entitled,
                  100 * board_.locality(move.guest, to)) +
           base::bytes_text(board_.of(guest).resident) + " are there";
  }

  std::string why_no_more() const {
    const std::string imbalance = format("imbalance %.0f %%", 100 * plan_.imbalance_after);
    if (board_.nodes().size() < 2) return "there are not two nodes with processors";
    if (plan_.imbalance_after <= options_.imbalance)
      return imbalance + format(", not above %.0f %%", 100 * options_.imbalance);
    if (plan_.moves.size() >= options_.max_moves)
      return imbalance + format(", but %u guests are moved at most", options_.max_moves);
    if (!plan_.moves.empty() && plan_.moves.back().why == RebalanceWhy::fairness)
      return imbalance + format(", that guests take turns at every %u periods", options_.fairness_interval);
    std::string text =
        imbalance + format(", but no move that is allowed improves it by %.0f %%", 100 * options_.improvement);
    if (!options_.swap)
      text += ", and guests are not swapped";
    else if (!may_swap())
      text += format(", and guests are swapped every %u periods", options_.swap_interval);
    else
      text += ", nor does a swap";
    return text;
  }

  const RebalanceSnapshot& snapshot_;
  const RebalanceOptions& options_;
  RebalanceBoard board_;
  RebalanceSearch search_;
  std::optional<Packing> packing_;
  RebalancePlan plan_;
};

}  // namespace

RebalancePlan plan_rebalance(const RebalanceSnapshot& snapshot, const RebalanceOptions& options) {
  return Planner(snapshot, options).plan();
}

}  // namespace vmm::policy
