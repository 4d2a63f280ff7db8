#include "policy/cpu_division.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

namespace vmm::policy {
namespace {

double per_thread(const DividedGuest& guest) { return guest.wanted / guest.threads; }

}  // namespace

CpuDivision::CpuDivision(double processors, std::vector<DividedGuest> guests)
    : processors_(processors), guests_(std::move(guests)) {
  std::stable_sort(guests_.begin(), guests_.end(),
                   [](const DividedGuest& a, const DividedGuest& b) { return per_thread(a) < per_thread(b); });
  sums_.reserve(guests_.size() + 1);
  sums_.emplace_back();
  for (const DividedGuest& guest : guests_) {
    Sums sums = sums_.back();
    sums.threads += guest.threads;
    sums.wanted += guest.wanted;
    sums.weighted_threads += guest.weight * guest.threads;
    sums.weighted_wanted += guest.weight * guest.wanted;
    sums_.push_back(sums);
  }
}

double CpuDivision::received(const DividedGuest& guest, double level) {
  return per_thread(guest) <= level ? guest.wanted : guest.threads * level;
}

double CpuDivision::level() const { return level(0, 0); }

// With a guest more, or, where both are negative, less.
double CpuDivision::level(double threads, double wanted) const {
  const Sums& all = sums_.back();
  if (all.wanted + wanted <= processors_) return HUGE_VAL;
  const double own_level = threads != 0 ? wanted / threads : 0;
  // The first guest that would not have what it wants if the level were no more than what its threads want.
  std::size_t low = 0;
  std::size_t high = guests_.size();
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    const double at = per_thread(guests_[middle]);
    const double given =
        sums_[middle].wanted + at * (all.threads - sums_[middle].threads) + (own_level <= at ? wanted : threads * at);
    if (given >= processors_)
      high = middle;
    else
      low = middle + 1;
  }
  const double left = processors_ - sums_[low].wanted;
  const double waiting = all.threads - sums_[low].threads;
  if (threads == 0) return waiting > 0 ? left / waiting : HUGE_VAL;
  const double shared = waiting + threads > 0 ? left / (waiting + threads) : HUGE_VAL;
  if (shared <= own_level) return shared;
  return waiting > 0 ? (left - wanted) / waiting : HUGE_VAL;
}

double CpuDivision::weighted_sum(double level) const {
  const auto unsatisfied = std::partition_point(guests_.begin(), guests_.end(),
                                                [&](const DividedGuest& guest) { return per_thread(guest) <= level; });
  const Sums& satisfied = sums_[static_cast<std::size_t>(unsatisfied - guests_.begin())];
  if (unsatisfied == guests_.end()) return satisfied.weighted_wanted;
  return satisfied.weighted_wanted + level * (sums_.back().weighted_threads - satisfied.weighted_threads);
}

}  // namespace vmm::policy
