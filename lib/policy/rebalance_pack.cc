#include "policy/rebalance_pack.h"

#include <algorithm>

namespace vmm::policy {
namespace {

// Guests of a node, on average, up to which moves and swaps may fail to balance.
constexpr std::size_t kFew = 8;

void measure(const RebalanceBoard& board, const std::vector<double>& entitled, Packing& packing) {
  double least = 0;
  for (std::size_t n = 0; n < entitled.size(); ++n) {
    const double load = entitled[n] / board.nodes()[n].processors;
    packing.most = n == 0 ? load : std::max(packing.most, load);
    least = n == 0 ? load : std::min(least, load);
  }
  packing.imbalance = (packing.most - least) / board.scale();
}

// A guest stays at home where no node is better by more than `as_good`.
std::optional<Packing> pack_with(const RebalanceBoard& board, double as_good) {
  const auto& nodes = board.nodes();
  std::vector<std::size_t> movable;
  for (const auto& node : nodes) movable.insert(movable.end(), node.candidates.begin(), node.candidates.end());
  if (movable.empty() || movable.size() > kFew * nodes.size()) return std::nullopt;
  Packing packing;
  packing.node.resize(board.guests().size());
  std::vector<double> entitled(nodes.size());
  for (std::size_t n = 0; n < nodes.size(); ++n) entitled[n] = nodes[n].entitled;
  for (std::size_t g = 0; g < packing.node.size(); ++g) packing.node[g] = board.guests()[g].node.value_or(0);
  for (const auto g : movable) entitled[packing.node[g]] -= board.guests()[g].entitled;
  std::sort(movable.begin(), movable.end(), [&](std::size_t a, std::size_t b) {
    const double ea = board.guests()[a].entitled, eb = board.guests()[b].entitled;
    return ea != eb ? ea > eb : a < b;
  });
  for (const auto g : movable) {
    const double claim = board.guests()[g].entitled;
    const auto with = [&](std::size_t n) { return (entitled[n] + claim) / nodes[n].processors; };
    const auto home = packing.node[g];
    auto best = home;
    for (std::size_t n = 0; n < nodes.size(); ++n) {
      if (n == home || board.returns(g, n) || !board.fits(g, n)) continue;
      if (with(n) + (best == home ? as_good : 0) < with(best)) best = n;
    }
    packing.node[g] = best;
    entitled[best] += claim;
  }
  measure(board, entitled, packing);
  return packing;
}

// Guests go where the layout says, as far as they still may, and all others stay.
std::optional<Packing> follow(const RebalanceBoard& board, const std::map<std::uint64_t, int>& layout) {
  if (layout.empty()) return std::nullopt;
  const auto& nodes = board.nodes();
  Packing packing;
  packing.node.resize(board.guests().size());
  for (std::size_t g = 0; g < packing.node.size(); ++g) packing.node[g] = board.guests()[g].node.value_or(0);
  std::vector<double> entitled(nodes.size());
  for (std::size_t n = 0; n < nodes.size(); ++n) entitled[n] = nodes[n].entitled;
  for (const auto& node : nodes)
    for (const auto g : node.candidates) {
      const auto found = layout.find(board.of(board.guests()[g]).id);
      if (found == layout.end()) continue;
      const auto to = std::find_if(nodes.begin(), nodes.end(),
                                   [&](const BoardNode& n) { return board.of(n).id == found->second; });
      if (to == nodes.end()) continue;
      const auto n = static_cast<std::size_t>(to - nodes.begin());
      if (n == packing.node[g] || board.returns(g, n) || !board.fits(g, n)) continue;
      entitled[packing.node[g]] -= board.guests()[g].entitled;
      entitled[n] += board.guests()[g].entitled;
      packing.node[g] = n;
    }
  measure(board, entitled, packing);
  return packing;
}

}  // namespace

std::optional<Packing> pack(const RebalanceBoard& board, const RebalanceOptions& options,
                            const std::map<std::uint64_t, int>& layout) {
  const double worth = options.improvement * board.scale();
  // Homes are preferred as far as that does no harm.
  auto best = pack_with(board, worth / 2);
  if (!best) return best;
  auto other = pack_with(board, 0);
  if (other->most < best->most - worth) best = std::move(other);
  other = follow(board, layout);
  if (other && other->most <= best->most + worth) best = std::move(other);
  return best;
}

std::vector<PackingMove> steps_towards(const Packing& packing, RebalanceBoard board, std::size_t most, double full) {
  const auto load = [&](std::size_t n) { return board.nodes()[n].load(); };
  std::vector<double> limit(board.nodes().size());
  double highest = full;
  for (std::size_t n = 0; n < limit.size(); ++n) highest = std::max(highest, load(n));
  for (std::size_t n = 0; n < limit.size(); ++n)
    limit[n] = (board.nodes()[n].most_owed > kSlightlyOwed ? std::max(full, load(n)) : highest) + 1e-9;
  std::vector<PackingMove> steps;
  std::size_t good = 0;  // steps after which no node is filled too much
  while (steps.size() < most) {
    std::optional<PackingMove> best;
    double best_from = 0, best_to = 0;
    for (std::size_t from = 0; from < board.nodes().size(); ++from)
      for (const auto g : board.nodes()[from].candidates) {
        const auto to = packing.node[g];
        if (to == from || board.returns(g, to) || !board.fits(g, to)) continue;
        const double filled = load(to) + board.guests()[g].entitled / board.nodes()[to].processors;
        // Out of what is fullest first; of those, to where there is most room.
        const bool better = !best || load(from) > best_from || (load(from) == best_from && filled < best_to);
        if (!better) continue;
        best = PackingMove{g, to};
        best_from = load(from);
        best_to = filled;
      }
    if (!best) break;
    board.move(best->guest, best->to);
    steps.push_back(*best);
    bool over = false;
    for (std::size_t n = 0; n < board.nodes().size() && !over; ++n) over = load(n) > limit[n];
    if (!over) good = steps.size();
  }
  steps.resize(good);
  return steps;
}

}  // namespace vmm::policy
