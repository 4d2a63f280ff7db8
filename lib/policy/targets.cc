#include "policy/targets.h"

#include <algorithm>
#include <numeric>

namespace vmm::policy {
namespace {

// A guest or a pool among its siblings.
struct Claim {
  std::uint64_t least = 0, most = 0;
  double weight = 1;  // shares, less for idle memory: pages are given in proportion to it
};

// Idle memory costs 1 / (1 - tax) times what active memory does.
double price_of(const TargetGuest& g) noexcept {
  const double active = std::clamp(g.active, 0.0, 1.0), tax = std::clamp(g.tax, 0.0, 0.999);
  return active + (1 - active) / (1 - tax);
}

double shares_of(std::uint64_t shares) noexcept { return static_cast<double>(std::max<std::uint64_t>(shares, 1)); }

std::uint64_t pages_at(const Claim& c, double level) noexcept {
  const double pages = level * c.weight;
  if (pages >= static_cast<double>(c.most)) return c.most;
  return std::max(c.least, static_cast<std::uint64_t>(pages));
}

// Raises the level further, page by page, while what it brings fits: next is who has the page at the lowest level, and
// those of one level get it together or not at all. So the level is the highest of which the whole pages fit
// (Jefferson's method of apportionment), and who has more shares never gets fewer pages.
void hand_out_rest(const std::vector<Claim>& claims, std::uint64_t rest, std::vector<std::uint64_t>& pages) {
  struct Next {
    double level;  // at which it has one page more
    std::size_t claim;
    bool operator<(const Next& other) const noexcept { return level > other.level; }  // the lowest is on top
  };
  std::vector<Next> heap;
  const auto want = [&](std::size_t i) {
    if (pages[i] == claims[i].most) return;
    heap.push_back({static_cast<double>(pages[i] + 1) / claims[i].weight, i});
    std::push_heap(heap.begin(), heap.end());
  };
  heap.reserve(claims.size());
  for (std::size_t i = 0; rest > 0 && i < claims.size(); ++i) want(i);
  std::vector<std::size_t> together;
  while (rest > 0 && !heap.empty()) {
    together.clear();
    for (const auto level = heap.front().level; !heap.empty() && heap.front().level <= level;) {
      together.push_back(heap.front().claim);
      std::pop_heap(heap.begin(), heap.end());
      heap.pop_back();
    }
    if (together.size() > rest) return;
    rest -= together.size();
    for (const auto i : together) {
      ++pages[i];
      want(i);
    }
  }
}

// Shares `memory` out: each claim gets weight * level pages within its bounds, with the highest level that fits. The
// bounds' levels are tried in order, and between two of them the sum grows linearly.
std::vector<std::uint64_t> share_out(const std::vector<Claim>& claims, std::uint64_t memory) {
  struct Turn {
    double level;
    double weight;  // what begins (or, negative, ends) to grow there
    bool operator<(const Turn& other) const noexcept {
      return level != other.level ? level < other.level : weight < other.weight;
    }
  };
  std::vector<Turn> turns;
  turns.reserve(2 * claims.size());
  std::uint64_t least = 0, most = 0;
  for (const auto& c : claims) {
    least += c.least;
    most += c.most;
    turns.push_back({static_cast<double>(c.least) / c.weight, c.weight});
    turns.push_back({static_cast<double>(c.most) / c.weight, -c.weight});
  }
  std::vector<std::uint64_t> pages(claims.size());
  const auto give = [&](auto amount) {
    for (std::size_t i = 0; i < claims.size(); ++i) pages[i] = amount(claims[i]);
  };
  if (least >= memory) {
    give([](const Claim& c) { return c.least; });
    return pages;
  }
  if (most <= memory) {
    give([](const Claim& c) { return c.most; });
    return pages;
  }
  std::sort(turns.begin(), turns.end());
  double level = 0, sum = static_cast<double>(least), growing = 0;
  for (const auto& turn : turns) {
    const double at_turn = sum + growing * (turn.level - level);
    if (at_turn >= static_cast<double>(memory)) break;
    sum = at_turn;
    level = turn.level;
    growing += turn.weight;
  }
  if (growing > 0) level += (static_cast<double>(memory) - sum) / growing;
  // A little lower, for rounding may have gone too high by some pages.
  std::uint64_t total = 0;
  for (double lower = 1e-12;; lower *= 2) {
    level *= 1 - lower;
    give([&](const Claim& c) { return pages_at(c, level); });
    total = std::accumulate(pages.begin(), pages.end(), std::uint64_t{0});
    if (total <= memory) break;
  }
  hand_out_rest(claims, memory - total, pages);
  return pages;
}

}  // namespace

Targets plan_targets(const TargetSnapshot& snapshot) {
  const auto& pools = snapshot.pools;
  const auto& guests = snapshot.guests;
  // From the leaves to the root: what each must have and can use, and what its memory costs on average.
  std::vector<Claim> of_guest(guests.size()), of_pool(pools.size());
  std::vector<std::uint64_t> held(pools.size());
  std::vector<std::vector<double>> costs(pools.size());
  for (std::size_t i = 0; i < guests.size(); ++i) {
    const auto& g = guests[i];
    auto& c = of_guest[i];
    const auto wanted = std::max(g.consumed, g.wanted);
    c.most = g.limit == 0 ? wanted : std::min(wanted, g.limit + g.overhead);
    c.least = std::min(c.most, g.reservation + g.overhead);
    c.weight = shares_of(g.shares) / price_of(g);
    of_pool[g.pool].least += c.least;
    of_pool[g.pool].most += c.most;
    held[g.pool] += g.consumed;
    costs[g.pool].push_back(static_cast<double>(g.consumed) * price_of(g));
  }
  for (std::size_t p = pools.size(); p-- > 1;) {
    auto& c = of_pool[p];
    // What its guests must have it has in any case.
    if (pools[p].limit != 0) c.most = std::max(c.least, std::min(c.most, pools[p].limit));
    c.least = std::clamp(pools[p].reservation, c.least, c.most);
    // In ascending order: the sum is the same whatever the order of the guests is.
    std::sort(costs[p].begin(), costs[p].end());
    const double cost = std::accumulate(costs[p].begin(), costs[p].end(), 0.0);
    c.weight = shares_of(pools[p].shares) * (cost > 0 ? static_cast<double>(held[p]) / cost : 1);
    auto& parent = of_pool[pools[p].parent];
    parent.least += c.least;
    parent.most += c.most;
    held[pools[p].parent] += held[p];
    costs[pools[p].parent].push_back(cost);
  }
  // From the root to the leaves: each pool shares out what it has got.
  Targets targets;
  targets.pages.resize(guests.size());
  targets.overfull = !pools.empty() && of_pool[0].least > snapshot.memory;
  struct Child {
    bool pool;
    std::size_t index;
  };
  std::vector<std::vector<Child>> children(pools.size());
  for (std::size_t i = 0; i < guests.size(); ++i) children[guests[i].pool].push_back({false, i});
  for (std::size_t p = 1; p < pools.size(); ++p) children[pools[p].parent].push_back({true, p});
  std::vector<std::uint64_t> granted(pools.size());
  if (!pools.empty()) granted[0] = snapshot.memory;
  std::vector<Claim> claims;
  for (std::size_t p = 0; p < pools.size(); ++p) {
    claims.clear();
    for (const auto& child : children[p]) claims.push_back(child.pool ? of_pool[child.index] : of_guest[child.index]);
    const auto pages = share_out(claims, granted[p]);
    for (std::size_t i = 0; i < pages.size(); ++i) {
      const auto& child = children[p][i];
      (child.pool ? granted[child.index] : targets.pages[child.index]) = pages[i];
    }
  }
  return targets;
}

}  // namespace vmm::policy
