#include "policy/rebalance_search.h"

#include <algorithm>
#include <limits>

namespace vmm::policy {
namespace {

// For each guest, in vain. What they do not suffice for is left to the next plan.
constexpr std::size_t kLooks = 16;
// Partners that are tried for each guest of a swap.
constexpr std::size_t kPartners = 8;

}  // namespace

RebalanceSearch::RebalanceSearch(const RebalanceBoard& board, const RebalanceOptions& options)
    : board_(board),
      options_(options),
      no_move_(board.nodes().size() * board.nodes().size()),
      no_swap_(no_move_.size()),
      looks_left_(kLooks * (board.guests().size() + 1)) {}

bool RebalanceSearch::look(std::size_t guests) {
  if (looks_left_ < guests) return false;
  looks_left_ -= guests;
  return true;
}

bool RebalanceSearch::unbalanced(Pair pair) const {
  const double from = board_.nodes()[pair.from].load();
  const double difference = from - board_.nodes()[pair.to].load();
  return difference > options_.imbalance * board_.scale() || (from > full() && difference > 0);
}

// How much the higher load of the two falls when so much of entitlement is carried over.
double RebalanceSearch::gain(Pair pair, double carried) const {
  const BoardNode& from = board_.nodes()[pair.from];
  const BoardNode& to = board_.nodes()[pair.to];
  return from.load() - std::max((from.entitled - carried) / from.processors, (to.entitled + carried) / to.processors);
}

// What has to be carried to make both equally loaded.
double RebalanceSearch::ideal(Pair pair) const {
  const BoardNode& from = board_.nodes()[pair.from];
  const BoardNode& to = board_.nodes()[pair.to];
  return (from.load() - to.load()) / (1 / from.processors + 1 / to.processors);
}

RebalanceSearch::Bounds RebalanceSearch::bounds(Pair pair) const {
  const BoardNode& from = board_.nodes()[pair.from];
  const BoardNode& to = board_.nodes()[pair.to];
  const double improvement = std::max(options_.improvement * board_.scale(), 1e-9);
  return {improvement * from.processors, (from.load() - to.load() - improvement) * to.processors};
}

bool RebalanceSearch::fills_too_much(Pair pair, double carried) const {
  const BoardNode& from = board_.nodes()[pair.from];
  const BoardNode& to = board_.nodes()[pair.to];
  const double filled = (to.entitled + carried) / to.processors;
  if (filled <= full()) return false;
  return filled > (from.entitled - carried) / from.processors + 1e-9 || to.most_owed > kSlightlyOwed;
}

// Whether the guest that comes back had what it is entitled to, and then has not. With weights that is no matter for
// one that has had more before.
bool RebalanceSearch::leaves_short(Pair pair, std::size_t partner, double carried) const {
  if (options_.weighted && board_.guests()[partner].owed <= kSlightlyOwed) return false;
  const BoardNode& from = board_.nodes()[pair.from];
  return board_.nodes()[pair.to].load() <= full() && (from.entitled - carried) / from.processors > full();
}

// From the most loaded node on, each with the least loaded ones first; of those, the one with more memory free.
template <class Find>
std::optional<BoardMove> RebalanceSearch::for_pairs(std::vector<std::uint64_t>& failed, Find&& find) {
  const std::vector<BoardNode>& nodes = board_.nodes();
  std::vector<std::size_t> order(nodes.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (nodes[a].load() != nodes[b].load()) return nodes[a].load() < nodes[b].load();
    return nodes[a].free != nodes[b].free ? nodes[a].free > nodes[b].free : a < b;
  });
  for (auto from = order.rbegin(); from != order.rend(); ++from) {
    if (nodes[*from].candidates.empty()) continue;
    for (const std::size_t to : order) {
      const Pair pair{*from, to};
      if (!unbalanced(pair)) break;
      std::uint64_t& seen = failed[*from * nodes.size() + to];
      const std::uint64_t now = (std::uint64_t{nodes[*from].moves} << 32 | nodes[to].moves) + 1;
      if (seen == now) continue;
      const std::size_t looks = looks_left_;
      if (auto found = find(pair)) {
        looks_left_ = looks;
        return found;
      }
      seen = now;
    }
  }
  return std::nullopt;
}

std::optional<BoardMove> RebalanceSearch::find_move() {
  return for_pairs(no_move_, [&](Pair pair) { return best_move(pair); });
}

std::optional<BoardMove> RebalanceSearch::find_swap() {
  return for_pairs(no_swap_, [&](Pair pair) { return best_swap(pair); });
}

std::optional<BoardMove> RebalanceSearch::best_move(Pair pair) {
  const auto& guests = board_.guests();
  const auto& candidates = board_.nodes()[pair.from].candidates;
  Bounds worth = bounds(pair);
  // Of small guests, several are worth it together.
  double together = 0;
  for (auto g = candidates.rbegin(); g != candidates.rend() && together < worth.least; ++g) {
    if (!look(1)) return std::nullopt;
    if (guests[*g].entitled <= worth.most) together += guests[*g].entitled;
  }
  if (together >= worth.least) worth.least = 0;
  // From the guest that fits best on, to those that are larger and smaller: each way it becomes worse.
  auto above = std::partition_point(candidates.begin(), candidates.end(),
                                    [&](std::size_t g) { return guests[g].entitled < ideal(pair); });
  auto below = above;
  const auto gain_of = [&](std::size_t g) {
    const double carried = guests[g].entitled;
    return carried < worth.least || carried > worth.most ? 0 : gain(pair, carried);
  };
  std::optional<BoardMove> best;
  double best_score = 0;
  double larger = above == candidates.end() ? 0 : gain_of(*above);
  double smaller = below == candidates.begin() ? 0 : gain_of(*(below - 1));
  while (std::max(larger, smaller) > 0) {
    if (!look(1)) return std::nullopt;
    const double gained = std::max(larger, smaller);
    if (gained * (1 + options_.locality_weight) < best_score) break;
    std::size_t guest = 0;
    if (larger >= smaller) {
      guest = *above++;
      larger = above == candidates.end() ? 0 : gain_of(*above);
    } else {
      guest = *--below;
      smaller = below == candidates.begin() ? 0 : gain_of(*(below - 1));
    }
    if (gained * (1 + options_.locality_weight * board_.locality_at_most(guest, pair.to)) < best_score) continue;
    const double score = gained * (1 + options_.locality_weight * board_.locality(guest, pair.to));
    if ((best && !better(score, guest, best_score, best->guest)) || fills_too_much(pair, guests[guest].entitled) ||
        board_.returns(guest, pair.to) || !board_.fits(guest, pair.to))
      continue;
    best = BoardMove{guest, pair.to, std::nullopt, gained};
    best_score = score;
  }
  return best;
}

// Of equals the one with less memory to follow it, then the lower number.
bool RebalanceSearch::better(double score, std::size_t guest, double than_score, std::size_t than) const {
  if (score != than_score) return score > than_score;
  const double holds = board_.guests()[guest].holds;
  const double than_holds = board_.guests()[than].holds;
  return holds != than_holds ? holds < than_holds : guest < than;
}

std::optional<BoardMove> RebalanceSearch::best_swap(Pair pair) {
  const auto& guests = board_.guests();
  const auto& here = board_.nodes()[pair.from].candidates;
  const auto& there = board_.nodes()[pair.to].candidates;
  const Bounds worth = bounds(pair);
  const double best_carried = ideal(pair);
  std::optional<BoardMove> best;
  double best_score = 0;
  for (const std::size_t guest : here) {
    if (!look(1)) return best;
    if (board_.returns(guest, pair.to) || !board_.fits(guest, pair.to)) continue;
    const double entitled = guests[guest].entitled;
    // Partners by how near they come to the ideal.
    auto after = std::partition_point(there.begin(), there.end(),
                                      [&](std::size_t g) { return guests[g].entitled < entitled - best_carried; });
    auto before = after;
    for (std::size_t tried = 0; tried < kPartners; ++tried) {
      if (!look(1)) return best;
      const double below = before == there.begin()
                               ? std::numeric_limits<double>::infinity()
                               : guests[guest].entitled - guests[*(before - 1)].entitled - best_carried;
      const double above = after == there.end() ? std::numeric_limits<double>::infinity()
                                                : best_carried - (guests[guest].entitled - guests[*after].entitled);
      if (std::min(below, above) == std::numeric_limits<double>::infinity()) break;
      const std::size_t partner = below < above ? *--before : *after++;
      const double carried = entitled - guests[partner].entitled;
      if (carried < worth.least || carried > worth.most) break;
      const double gained = gain(pair, carried);
      const double local = (board_.locality(guest, pair.to) + board_.locality(partner, pair.from)) / 2;
      const double score = gained * (1 + options_.locality_weight * local);
      if (score <= best_score || fills_too_much(pair, carried) || leaves_short(pair, partner, carried) ||
          board_.returns(partner, pair.from) || !board_.fits(partner, pair.from))
        continue;
      best = BoardMove{guest, pair.to, partner, gained};
      best_score = score;
    }
  }
  return best;
}

}  // namespace vmm::policy
