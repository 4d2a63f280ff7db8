#include "policy/thread_weights.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "policy/cpu_entitlement.h"

namespace vmm::policy {
namespace {

constexpr double kStep = 1.25;
// CPU seconds behind that are worth a step, and steps that they are worth at most.
constexpr double kSecondsOfAStep = 1, kMostSteps = 2;
// Processors. Who wants less, or is entitled to less, is as one who has this.
constexpr double kLeast = 1e-3;

// Who is owed so many seconds of its entitlement counts as entitled to this part more; or, if it has had more, less.
constexpr double kOwedSeconds = 50, kMostForOwed = 0.10;

double at_least(double value, double least) { return std::isfinite(value) && value > least ? value : least; }

double claim(const WeighedGuest& guest) {
  const double entitled = at_least(guest.entitled, kLeast);
  const double owed = std::isfinite(guest.owed) ? guest.owed / (kOwedSeconds * entitled) : 0;
  return entitled * (1 + kMostForOwed * std::clamp(owed, -1.0, 1.0));
}

// What each would have had of all that they had.
std::vector<double> parts_of_used(const std::vector<WeighedGuest>& guests) {
  constexpr double kShares = 1e6;  // of a processor
  std::vector<CpuClaim> claims;
  double used = 0;
  for (const auto& guest : guests) {
    const double had = at_least(guest.used, 0);
    claims.push_back({static_cast<std::uint64_t>(kShares * claim(guest)), std::max(at_least(guest.wanted, 0), had)});
    used += had;
  }
  return cpu_entitlements(claims, used);
}

}  // namespace

double weight_of_nice(int nice) { return std::pow(kStep, -nice); }

std::vector<ThreadWeight> plan_thread_weights(const std::vector<WeighedGuest>& guests, double processors,
                                              double seconds) {
  std::vector<ThreadWeight> weights(guests.size());
  double wanted = 0;
  for (const auto& guest : guests) wanted += at_least(guest.wanted, 0);
  if (wanted <= processors) return weights;
  const auto parts = parts_of_used(guests);
  constexpr double kMostBehind = kMostSteps * kSecondsOfAStep;
  // How many steps each is to be below a thread of weight 1.
  std::vector<double> steps(guests.size());
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < guests.size(); ++i) {
    const auto& guest = guests[i];
    const double before = std::isfinite(guest.behind) ? guest.behind : 0;
    const double behind = before + (parts[i] - at_least(guest.used, 0)) * at_least(seconds, 0);
    weights[i].behind = std::clamp(behind, -kMostBehind, kMostBehind);
    const double below = std::log(at_least(guest.wanted, kLeast) / claim(guest)) / std::log(kStep);
    steps[i] = below - weights[i].behind / kSecondsOfAStep;
    least = std::min(least, steps[i]);
  }
  for (std::size_t i = 0; i < guests.size(); ++i)
    weights[i].nice = static_cast<int>(std::lround(std::min(steps[i] - least, 1.0 * kMostNice)));
  return weights;
}

}  // namespace vmm::policy
