// RebalanceSearch::find_fair_move.
#include <algorithm>
#include <cmath>
#include <utility>

#include "policy/cpu_division.h"
#include "policy/rebalance_search.h"

namespace vmm::policy {
namespace {

// Nodes that are tried as the destination.
constexpr std::size_t kDestinations = 4;
// CPU seconds times processors: less is no move worth.
constexpr double kLeastGain = 0.25;

DividedGuest divided(const BoardGuest& guest) { return {guest.threads, guest.wanted, guest.owed}; }

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

// Whether more would wait for each processor of the destination than waits for the source's now.
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

  // Those whose guests had most beyond their part.
  std::vector<std::size_t> destinations;
  for (std::size_t n = 0; n < nodes.size(); ++n)
    if (nodes[n].load() < 1) destinations.push_back(n);
  std::sort(destinations.begin(), destinations.end(),
            [&](std::size_t a, std::size_t b) { return owed[a] != owed[b] ? owed[a] < owed[b] : a < b; });
  if (destinations.size() > kDestinations) destinations.resize(kDestinations);

  std::optional<BoardMove> best;
  for (const BoardNode& from : nodes) {
    if (from.load() <= full()) continue;
    const Weighed& source = weighed[static_cast<std::size_t>(&from - nodes.data())];
    for (const std::size_t g : from.candidates) {
      const DividedGuest guest = divided(board_.guests()[g]);
      const double left = source.gained_without(guest);
      for (const std::size_t to : destinations) {
        const CpuDivision& destination = weighed[to].division;
        if (crowds(source.division, destination, guest.wanted) ||
            leaves_idle(source.division, destination, guest.wanted))
          continue;
        const double gained = left + weighed[to].gained_with(guest);
        if (gained <= std::max(best ? best->gain : 0, kLeastGain) || !board_.fits(g, to)) continue;
        best = BoardMove{g, to, std::nullopt, gained};
      }
    }
  }
  return best;
}

}  // namespace vmm::policy
