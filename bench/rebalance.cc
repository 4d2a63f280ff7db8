// What planning costs: which guests get another home, for a large host. Nothing but the policy: no kernel, no nodes.
#include <time.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/random.h"
#include "comparisons.h"
#include "policy/rebalance.h"
#include "support/measure.h"

namespace vmm::bench {
namespace {

struct Case {
  const char* name;
  double fill;         // part of the processors that is wanted
  double improvement;  // needed; out of reach: only turns are left
  std::uint64_t free;  // memory of each node
  bool one_node;       // holds all guests
};

constexpr std::size_t kNodes = 64;
constexpr unsigned kProcessors = 64;

// An eighth of the nodes holds half of the guests; half of them know where their memory is.
policy::RebalanceSnapshot snapshot(std::size_t guests, const Case& c) {
  base::Random random(guests);
  policy::RebalanceSnapshot s;
  s.now = std::chrono::hours(1);
  s.history.periods = 100;
  for (std::size_t n = 0; n < kNodes; ++n)
    s.nodes.push_back({static_cast<int>(n), kProcessors, 1ULL << 40, c.free, false});
  const double mean = c.fill * kProcessors * kNodes / static_cast<double>(guests);
  for (std::size_t i = 0; i < guests; ++i) {
    policy::RebalanceGuest g;
    g.id = random.next();
    g.home = 0;
    if (!c.one_node) g.home = static_cast<int>(random.below(2) == 0 ? random.below(kNodes / 8) : random.below(kNodes));
    g.shares = 500ULL << random.below(3);
    g.threads = 4;
    g.wanted = 2 * mean * random.unit();
    g.used = 0.8 * g.wanted;
    g.owed = 100 * random.unit() - 50;
    g.resident = (64 + random.below(4096)) << 20;
    if (c.free > 0 && random.below(2) == 0) {
      g.by_node.resize(kNodes);
      g.by_node[random.below(kNodes)] = g.resident;
    }
    s.guests.push_back(std::move(g));
  }
  return s;
}

// Of this thread, in milliseconds: what others do on the machine meanwhile is not planning.
double cpu_time() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return 1e3 * static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_nsec);
}

double plan(const policy::RebalanceSnapshot& s, const policy::RebalanceOptions& options, std::size_t& moves) {
  const double begin = cpu_time();
  moves = policy::plan_rebalance(s, options).moves.size();
  return cpu_time() - begin;
}

}  // namespace

void measure_rebalance(const Settings&, Report& report) {
  for (const Case& c :
       {Case{"moves", 0.9, 0.02, 1ULL << 39, false}, Case{"all on one node", 0.9, 0.02, 1ULL << 39, true},
        Case{"turns", 2, 100, 1ULL << 39, false}, Case{"no node has memory", 0.9, 0.02, 0, false}}) {
    std::size_t moves = 0;
    std::size_t moves_of_few = 0;
    policy::RebalanceOptions options;
    options.max_moves = kNodes;
    options.improvement = c.improvement;
    const auto few = snapshot(1'000, c);
    const auto many = snapshot(10'000, c);
    const Pair pair = take_turns(
        41, [&] { return plan(many, options, moves); }, [&] { return plan(few, options, moves_of_few); });
    report.at_most(text("rebalance, %s: 10,000 guests on 64 nodes, ms of CPU", c.name), pair.ours.median(), 20,
                   text("median of 41 plans; %zu guests moved", moves));
    report.at_most(text("rebalance, %s: 10,000 guests against 1,000", c.name), pair.ratio(), 14,
                   text("1,000 guests: %.2f ms, %zu moved", pair.peer.median(), moves_of_few));
  }
}

}  // namespace vmm::bench
