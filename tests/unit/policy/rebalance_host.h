// Small hosts for the tests of rebalancing, and what is planned for them as short texts.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "policy/rebalance.h"
#include "vmm/units.h"

namespace vmm::policy {

inline constexpr std::uint64_t kMemory = 64 * GiB;
// Beside the 6 % that are kept, just enough for a guest of 1 GiB.
inline constexpr std::uint64_t kJustFree = kMemory * 6 / 100 + GiB + 1;

// Guests that want whole processors, with one thread for each, and have a part of them where there are not enough.
struct Homed {
  int home;
  double wanted;
};

inline RebalanceSnapshot rebalance_host(unsigned nodes, unsigned processors, const std::vector<Homed>& guests) {
  RebalanceSnapshot s;
  s.now = std::chrono::hours(1);
  std::vector<double> wanted(nodes);
  for (unsigned n = 0; n < nodes; ++n) s.nodes.push_back({static_cast<int>(n), processors, kMemory, kMemory, false});
  for (const Homed& g : guests) wanted[static_cast<std::size_t>(g.home)] += g.wanted;
  for (const Homed& homed : guests) {
    RebalanceGuest g;
    g.id = s.guests.size();
    g.name = std::string(1, static_cast<char>('a' + g.id));
    g.home = homed.home;
    g.wanted = homed.wanted;
    g.used = homed.wanted * std::min(1.0, processors / wanted[static_cast<std::size_t>(homed.home)]);
    g.threads = static_cast<unsigned>(std::max(1.0, homed.wanted));
    g.resident = GiB;
    s.guests.push_back(g);
  }
  return s;
}

// "b:0>1 c:1>0"
inline std::string text(const RebalanceSnapshot& s, const RebalancePlan& plan) {
  std::string told;
  for (const RebalanceMove& m : plan.moves)
    told +=
        (told.empty() ? "" : " ") + s.guests[m.guest].name + ":" + std::to_string(m.from) + ">" + std::to_string(m.to);
  return told;
}

inline std::string planned(const RebalanceSnapshot& s, const RebalanceOptions& options = {}) {
  return text(s, plan_rebalance(s, options));
}

}  // namespace vmm::policy
