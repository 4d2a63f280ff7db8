// RebalanceSearch::find_fair_move and find_fair_swap.
#include <algorithm>
#include <cmath>
#include <utility>

#include "policy/cpu_division.h"
#include "policy/rebalance_search.h"

namespace vmm::policy {
namespace {

// Nodes that are tried as the destination, and guests of a node that are tried in a swap.
constexpr std::size_t kDestinations = 4, kPartners = 32;
// Of the higher load of two nodes that swap, as much is allowed then.
constexpr double kMostFuller = 1.1;
// CPU seconds times processors: less is no move worth.
constexpr double kLeastGain = 0.25;

DividedGuest divided(const BoardGuest& guest) { return {guest.parts, guest.wanted, guest.owed}; }

// What guests get now and would get, each times what it is owed.
struct Weighed {
  CpuDivision division;
  double level;
  double now;

  Weighed(double processors, std::vector<DividedGuest> guests)
      : division(processors, std::move(guests)), level(division.level()), now(division.weighted_sum(level)) {}

  // Of those that stay, and the guest that goes.
  double gained_without(const DividedGuest& guest) const {
    const double then = division.level_without(guest);
    return division.weighted_sum(then) - guest.weight * CpuDivision::received(guest, then) - now;
  }
  // Of those that are there, and the guest that comes.
  double gained_with(const DividedGuest& guest) const {
    const double then = division.level_with(guest);
    return division.weighted_sum(then) + guest.weight * CpuDivision::received(guest, then) - now;
  }
};

// Whether more would wait for each processor of the destination than waits for the source's now; of what is wanted, or,
// where threads have weights, of what is entitled.
bool crowds(const BoardNode& from, const BoardNode& to, double entitled) {
  return (to.entitled + entitled) / to.processors > from.load() + 1e-9;
}
bool crowds(const CpuDivision& from, const CpuDivision& to, double wanted) {
  return (to.wanted() + wanted) / to.processors() > from.wanted() / from.processors() + 1e-9;
}

bool leaves_idle(const CpuDivision& from, const CpuDivision& to, double wanted) {
  const auto given = [](const CpuDivision& node, double more) {
    return std::min(node.processors(), node.wanted() + more);
  };
  return given(from, -wanted) + given(to, wanted) < given(from, 0) + given(to, 0) - kIdleProcessors;
}

}  // namespace

std::optional<BoardMove> RebalanceSearch::find_fair_move() {
  const std::vector<BoardNode>& nodes = board_.nodes();
  std::vector<std::vector<DividedGuest>> homed(nodes.size());
  std::vector<double> owed(nodes.size());
  for (const BoardGuest& guest : board_.guests()) {
    if (!guest.node || guest.entitled < kIdleProcessors) continue;
    homed[*guest.node].push_back(divided(guest));
    owed[*guest.node] += guest.owed;
  }
  std::vector<Weighed> weighed;
  weighed.reserve(nodes.size());
  for (std::size_t n = 0; n < nodes.size(); ++n) weighed.emplace_back(nodes[n].processors, std::move(homed[n]));

  const auto destinations = paying_nodes(owed);

  std::optional<BoardMove> best;
  for (const BoardNode& from : nodes) {
    if (from.load() <= (options_.weighted ? 1 : full())) continue;
    const Weighed& source = weighed[static_cast<std::size_t>(&from - nodes.data())];
    for (const std::size_t g : from.candidates) {
      const DividedGuest guest = divided(board_.guests()[g]);
      const double left = source.gained_without(guest);
      for (const std::size_t to : destinations) {
        const CpuDivision& destination = weighed[to].division;
        const bool crowded = crowds(source.division, destination, guest.wanted) &&
                             (!options_.weighted || crowds(from, nodes[to], board_.guests()[g].entitled));
        if (crowded || leaves_idle(source.division, destination, guest.wanted)) continue;
        const double gained = left + weighed[to].gained_with(guest);
        if (gained <= std::max(best ? best->gain : 0, kLeastGain) || !board_.fits(g, to)) continue;
        best = BoardMove{g, to, std::nullopt, gained};
      }
    }
  }
  return best;
}

// Nodes that are not full, whose guests had most beyond their part.
std::vector<std::size_t> RebalanceSearch::paying_nodes(const std::vector<double>& owed) const {
  std::vector<std::size_t> nodes;
  for (std::size_t n = 0; n < owed.size(); ++n)
    if (board_.nodes()[n].load() < 1) nodes.push_back(n);
  std::sort(nodes.begin(), nodes.end(),
            [&](std::size_t a, std::size_t b) { return owed[a] != owed[b] ? owed[a] < owed[b] : a < b; });
  if (nodes.size() > kDestinations) nodes.resize(kDestinations);
  return nodes;
}

// With weights, all guests of a node get the same part of what they are entitled to: the node's processors by its load.
std::optional<BoardMove> RebalanceSearch::find_fair_swap() {
  const std::vector<BoardNode>& nodes = board_.nodes();
  std::vector<double> owed(nodes.size()), due(nodes.size()), wanted(nodes.size());
  const auto due_to = [&](std::size_t g) { return board_.guests()[g].owed * board_.guests()[g].entitled; };
  for (std::size_t g = 0; g < board_.guests().size(); ++g) {
    const BoardGuest& guest = board_.guests()[g];
    if (!guest.node || guest.entitled < kIdleProcessors) continue;
    owed[*guest.node] += guest.owed;
    due[*guest.node] += due_to(g);
    wanted[*guest.node] += guest.wanted;
  }
  const auto some = [](const BoardNode& node) { return std::min(node.candidates.size(), kPartners); };
  const auto destinations = paying_nodes(owed);
  std::optional<BoardMove> best;
  for (std::size_t f = 0; f < nodes.size(); ++f) {
    const BoardNode& from = nodes[f];
    if (from.load() <= (options_.weighted ? 1 : full())) continue;
    for (const std::size_t t : destinations) {
      const BoardNode& to = nodes[t];
      const double now = due[f] / from.load() + due[t] / to.load();
      // Of the processors, those that would be used if so much were wanted on the other node instead.
      const auto used = [&](double carried) {
        return std::min(from.processors, wanted[f] - carried) + std::min(to.processors, wanted[t] + carried);
      };
      for (std::size_t i = 0; i < some(from); ++i)
        for (std::size_t k = 0; k < some(to); ++k) {
          const std::size_t g = from.candidates[i], h = to.candidates[k];
          const double carried = board_.guests()[g].entitled - board_.guests()[h].entitled;
          const double brought = due_to(g) - due_to(h);
          const double from_load = (from.entitled - carried) / from.processors;
          const double to_load = (to.entitled + carried) / to.processors;
          if (from_load <= 0 || std::max(from_load, to_load) > kMostFuller * from.load()) continue;
          const double gained = (due[f] - brought) / from_load + (due[t] + brought) / to_load - now;
          if (gained <= std::max(best ? best->gain : 0, kLeastGain)) continue;
          if (used(board_.guests()[g].wanted - board_.guests()[h].wanted) < used(0) - kIdleProcessors) continue;
          if (!board_.fits(g, t) || !board_.fits(h, f)) continue;
          best = BoardMove{g, t, h, gained};
        }
    }
  }
  return best;
}

}  // namespace vmm::policy
