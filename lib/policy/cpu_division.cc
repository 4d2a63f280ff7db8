#include "policy/cpu_division.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

namespace vmm::policy {
namespace {

double per_part(const DividedGuest& guest) { return guest.wanted / guest.parts; }

}  // namespace

CpuDivision::CpuDivision(double processors, std::vector<DividedGuest> guests)
    : processors_(processors), guests_(std::move(guests)) {
  std::stable_sort(guests_.begin(), guests_.end(),
                   [](const DividedGuest& a, const DividedGuest& b) { return per_part(a) < per_part(b); });
  sums_.reserve(guests_.size() + 1);
  sums_.emplace_back();
  for (const DividedGuest& guest : guests_) {
    Sums sums = sums_.back();
    sums.parts += guest.parts;
    sums.wanted += guest.wanted;
    sums.weighted_parts += guest.weight * guest.parts;
    sums.weighted_wanted += guest.weight * guest.wanted;
    sums_.push_back(sums);
  }
}

double CpuDivision::received(const DividedGuest& guest, double level) {
  return per_part(guest) <= level ? guest.wanted : guest.parts * level;
}

double CpuDivision::level() const { return level(0, 0); }

// With a guest more, or, where both are negative, less.
double CpuDivision::level(double parts, double wanted) const {
  const Sums& all = sums_.back();
  if (all.wanted + wanted <= processors_) return HUGE_VAL;
  const double own_level = parts != 0 ? wanted / parts : 0;
  // The first guest that would not have what it wants if the level were no more than what its threads want.
  std::size_t low = 0;
  std::size_t high = guests_.size();
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    const double at = per_part(guests_[middle]);
    const double given =
        sums_[middle].wanted + at * (all.parts - sums_[middle].parts) + (own_level <= at ? wanted : parts * at);
    if (given >= processors_)
      high = middle;
    else
      low = middle + 1;
  }
  const double left = processors_ - sums_[low].wanted;
  const double waiting = all.parts - sums_[low].parts;
  if (parts == 0) return waiting > 0 ? left / waiting : HUGE_VAL;
  const double shared = waiting + parts > 0 ? left / (waiting + parts) : HUGE_VAL;
  if (shared <= own_level) return shared;
  return waiting > 0 ? (left - wanted) / waiting : HUGE_VAL;
}

double CpuDivision::weighted_sum(double level) const {
  const auto unsatisfied = std::partition_point(guests_.begin(), guests_.end(),
                                                [&](const DividedGuest& guest) { return per_part(guest) <= level; });
  const Sums& satisfied = sums_[static_cast<std::size_t>(unsatisfied - guests_.begin())];
  if (unsatisfied == guests_.end()) return satisfied.weighted_wanted;
  return satisfied.weighted_wanted + level * (sums_.back().weighted_parts - satisfied.weighted_parts);
}

}  // namespace vmm::policy
