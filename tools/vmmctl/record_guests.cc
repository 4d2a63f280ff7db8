#include "record_guests.h"

#include <algorithm>
#include <numeric>

namespace vmmctl {
namespace {

// The `most` of `indices` whose guests held most memory, ascending.
std::vector<std::size_t> largest(const std::vector<GuestSummary>& guests, std::vector<std::size_t> indices,
                                 std::size_t most) {
  if (indices.size() > most) {
    std::stable_sort(indices.begin(), indices.end(), [&](std::size_t a, std::size_t b) {
      return guests[a].resident_max > guests[b].resident_max;
    });
    indices.resize(most);
    std::sort(indices.begin(), indices.end());
  }
  return indices;
}

}  // namespace

void GuestPoint::add(const GuestPoint& later) {
  samples += later.samples;
  gauges.add(later.gauges);
}

void GuestGrowth::add(const GuestGrowth& other) {
  faults += other.faults;
  swapped_in += other.swapped_in;
  swapped_out += other.swapped_out;
  migrations += other.migrations;
  stops += other.stops;
}

void OtherGuests::add(const GuestSummary& guest) {
  ++guests;
  growth.add(guest.growth);
}

void RecordedGuests::add(const Guest& guest, const GuestGrowth& growth, std::size_t point) {
  const auto [at, is_new] = index_.try_emplace(guest.name, held_.size());
  if (is_new) held_.emplace_back();
  GuestSummary& summary = held_[at->second];
  summary.resident_min = summary.samples == 0 ? guest.resident : std::min(summary.resident_min, guest.resident);
  summary.resident_max = std::max(summary.resident_max, guest.resident);
  summary.resident_sum += number(guest.resident);
  summary.swapped_max = std::max(summary.swapped_max, guest.swapped);
  summary.ballooned_max = std::max(summary.ballooned_max, guest.ballooned);
  summary.saved_max = std::max(summary.saved_max, guest.shared_saved);
  summary.growth.add(growth);
  summary.last = guest;
  summary.last_moment = moment_;
  ++summary.samples;

  if (summary.points_given_up && summary.resident_max <= given_up_below_) return;
  summary.points_given_up = false;
  if (summary.points.empty()) summary.first_point = point;
  if (const std::size_t needs = point - summary.first_point + 1; summary.points.size() < needs) {
    points_ += needs - summary.points.size();
    summary.points.resize(needs);
  }
  GuestPoint& of = summary.points.back();
  ++of.samples;
  of.gauges[GuestGauge::resident] += number(guest.resident);
  of.gauges[GuestGauge::target] += number(guest.target);
  of.gauges[GuestGauge::active] += number(guest.active);
  of.gauges[GuestGauge::swapped] += number(guest.swapped);
}

void RecordedGuests::end_moment() {
  if (points_ > kMostGuestPoints) give_up_points();
  if (held_.size() >= give_up_at_) give_up_guests();
  ++moment_;
}

void RecordedGuests::halve_points() {
  points_ = 0;
  for (GuestSummary& guest : held_) {
    if (guest.points.empty()) continue;
    const std::size_t first = guest.first_point / 2;
    std::vector<GuestPoint> halved((guest.first_point + guest.points.size() + 1) / 2 - first);
    for (std::size_t i = 0; i < guest.points.size(); ++i)
      halved[(guest.first_point + i) / 2 - first].add(guest.points[i]);
    guest.first_point = first;
    guest.points = std::move(halved);
    points_ += guest.points.size();
  }
}

// Down to half, so that it is seldom done; those that are charted now stay in any case.
void RecordedGuests::give_up_points() {
  std::vector<std::size_t> smallest_first;
  for (std::size_t i = 0; i < held_.size(); ++i)
    if (!held_[i].points.empty()) smallest_first.push_back(i);
  std::stable_sort(smallest_first.begin(), smallest_first.end(), [&](std::size_t a, std::size_t b) {
    return held_[a].resident_max < held_[b].resident_max;
  });
  for (std::size_t i = 0; i + kMostCharted < smallest_first.size() && points_ > kMostGuestPoints / 2; ++i) {
    GuestSummary& guest = held_[smallest_first[i]];
    points_ -= guest.points.size();
    guest.points = {};
    guest.points_given_up = true;
    given_up_below_ = std::max(given_up_below_, guest.resident_max);
  }
}

// Those that the sample does not show: what the others do goes on.
void RecordedGuests::give_up_guests() {
  std::vector<std::size_t> gone;
  for (std::size_t i = 0; i < held_.size(); ++i)
    if (held_[i].last_moment != moment_) gone.push_back(i);
  std::vector<bool> stays(held_.size(), false);
  for (std::size_t i = 0; i < held_.size(); ++i) stays[i] = held_[i].last_moment == moment_;
  for (const std::size_t i : largest(held_, gone, kMostListed)) stays[i] = true;
  std::vector<GuestSummary> held;
  for (std::size_t i = 0; i < held_.size(); ++i) {
    if (stays[i]) {
      index_[held_[i].last.name] = held.size();
      held.push_back(std::move(held_[i]));
    } else {
      others_.add(held_[i]);
      points_ -= held_[i].points.size();
      index_.erase(held_[i].last.name);
    }
  }
  held_ = std::move(held);
  give_up_at_ = std::max(2 * kMostListed, 2 * held_.size());
}

std::vector<std::size_t> RecordedGuests::listed() const {
  std::vector<std::size_t> all(held_.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return largest(held_, std::move(all), kMostListed);
}

std::vector<std::size_t> RecordedGuests::charted() const {
  std::vector<std::size_t> with_points;
  for (std::size_t i = 0; i < held_.size(); ++i)
    if (!held_[i].points.empty()) with_points.push_back(i);
  return largest(held_, std::move(with_points), kMostCharted);
}

}  // namespace vmmctl
