#include "record_data.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace vmmctl {
namespace {

using nlohmann::json;

// What a counter has grown by; one that fell has begun anew.
std::uint64_t grown_since(const Guest& now, const Guest* before, std::uint64_t Guest::*counter) {
  if (before == nullptr || now.*counter < before->*counter) return 0;
  return now.*counter - before->*counter;
}

double number(std::uint64_t value) { return static_cast<double>(value); }

std::size_t state_index(const std::string& name) {
  const auto& names = state_names();
  return static_cast<std::size_t>(std::find(names.begin(), names.end() - 1, name) - names.begin());
}

std::int64_t integer_in(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_number_integer() ? at->get<std::int64_t>() : 0;
}

}  // namespace

const std::vector<std::string>& state_names() {
  static const std::vector<std::string> names{"high", "clear", "soft", "hard", "low", "unknown"};
  return names;
}

void Point::add(const Point& later) {
  wall_time_ms = later.wall_time_ms;
  samples += later.samples;
  seconds += later.seconds;
  state = std::max(state, later.state);
  gauges.add(later.gauges);
  flows.add(later.flows);
  if (guests.size() < later.guests.size()) guests.resize(later.guests.size());
  for (std::size_t i = 0; i < later.guests.size(); ++i) {
    guests[i].samples += later.guests[i].samples;
    guests[i].gauges.add(later.guests[i].gauges);
  }
}

Result<void> RecordData::add_line(const std::string& line) {
  auto document = parse_json(line);
  if (!document) return tl::unexpected(document.error());
  if (!document->is_object()) return fail(FailureKind::garbage, "not an object");
  const std::int64_t wall_time_ms = integer_in(*document, "wall_time_ms");
  for (const char* name : {"end", "error"}) {
    const auto at = document->find(name);
    if (at == document->end() || !at->is_string()) continue;
    const auto text = at->get<std::string>();
    if (*name == 'e' && std::string(name) == "end")
      end_ = text;
    else
      add_note(clock_text(wall_time_ms) + " no answer: " + text);
    return {};
  }
  const auto stats = document->find("stats");
  if (stats == document->end()) return fail(FailureKind::garbage, "neither \"stats\", \"error\" nor \"end\"");
  const auto snapshot = parse_snapshot(*stats);
  if (!snapshot) return tl::unexpected(snapshot.error());
  const auto restarted = document->find("restarted");
  const bool anew = restarted != document->end() && *restarted == true;
  if (anew) add_note(clock_text(wall_time_ms) + " another host has taken the first one's place");
  add_snapshot(*snapshot, snapshot->wall_time_ms > 0 ? snapshot->wall_time_ms : wall_time_ms, anew);

  const std::int64_t lost = integer_in(*document, "lost");
  if (lost > 0)
    add_note(clock_text(wall_time_ms) + " " + std::to_string(lost) + " events were lost before they were read");
  const auto events = document->find("events");
  if (events == document->end() || !events->is_array()) return {};
  for (const json& event : *events) {
    if (!event.is_object()) continue;
    TimedEvent timed{parse_event(event), snapshot->wall_time_ms};
    timed.wall_time_ms -= static_cast<std::int64_t>(snapshot->time_ns - timed.event.time_ns) / 1'000'000;
    events_.push_back(std::move(timed));
    if (events_.size() > kMostEvents) {
      events_.pop_front();
      ++events_dropped_;
    }
  }
  return {};
}

void RecordData::add_guest(const Guest& guest, const Guest* before, Point& point) {
  const auto [at, is_new] = index_.try_emplace(guest.name, guests_.size());
  if (is_new) guests_.emplace_back();
  GuestSummary& summary = guests_[at->second];
  summary.resident_min = summary.samples == 0 ? guest.resident : std::min(summary.resident_min, guest.resident);
  summary.resident_max = std::max(summary.resident_max, guest.resident);
  summary.resident_sum += number(guest.resident);
  summary.swapped_max = std::max(summary.swapped_max, guest.swapped);
  summary.ballooned_max = std::max(summary.ballooned_max, guest.ballooned);
  summary.saved_max = std::max(summary.saved_max, guest.shared_saved);
  summary.faults += grown_since(guest, before, &Guest::faults);
  summary.swapped_in += grown_since(guest, before, &Guest::swapped_in);
  summary.swapped_out += grown_since(guest, before, &Guest::swapped_out);
  summary.migrations += grown_since(guest, before, &Guest::migrations);
  summary.stops += grown_since(guest, before, &Guest::stops);
  summary.last = guest;
  ++summary.samples;

  point.gauges[Gauge::shared] += number(guest.shared);
  point.gauges[Gauge::swapped] += number(guest.swapped);
  point.gauges[Gauge::ballooned] += number(guest.ballooned);
  const std::uint64_t placed = guest.resident + guest.shared + guest.swapped + guest.ballooned;
  point.gauges[Gauge::untouched] += number(guest.memory > placed ? guest.memory - placed : 0);
  point.gauges[Gauge::balloon_target] += number(guest.balloon_target);
  point.gauges[Gauge::balloon_max] += number(guest.balloon_max);
  point.gauges[Gauge::local] += number(guest.local);
  point.gauges[Gauge::remote] += number(guest.remote);
  point.flows[Flow::fills] += number(grown_since(guest, before, &Guest::fills));
  point.flows[Flow::rescues] += number(grown_since(guest, before, &Guest::rescues));
  point.flows[Flow::swap_ins] += number(grown_since(guest, before, &Guest::swap_ins));
  point.flows[Flow::pops] += number(grown_since(guest, before, &Guest::balloon_pops));
  point.flows[Flow::stalls] += number(grown_since(guest, before, &Guest::stalls));
  point.flows[Flow::read] += number(grown_since(guest, before, &Guest::swapped_in));
  point.flows[Flow::written] += number(grown_since(guest, before, &Guest::swapped_out));
  point.flows[Flow::migrated] += number(grown_since(guest, before, &Guest::migrated));

  if (point.guests.size() <= at->second) point.guests.resize(at->second + 1);
  Point::OfGuest& of = point.guests[at->second];
  of.samples = 1;
  of.gauges[GuestGauge::resident] = number(guest.resident);
  of.gauges[GuestGauge::target] = number(guest.target);
  of.gauges[GuestGauge::active] = number(guest.active);
  of.gauges[GuestGauge::swapped] = number(guest.swapped);
  of.gauges[GuestGauge::ballooned] = number(guest.ballooned);
}

void RecordData::add_snapshot(const Snapshot& now, std::int64_t wall_time_ms, bool restarted) {
  const bool follows = host_.samples > 0 && !restarted && now.time_ns > before_.time_ns && now.pid == before_.pid;
  Point point;
  point.wall_time_ms = wall_time_ms;
  point.samples = 1;
  point.seconds = follows ? static_cast<double>(now.time_ns - before_.time_ns) / 1e9 : 0;
  point.state = state_index(now.state);
  std::map<std::string, const Guest*> earlier;
  if (follows)
    for (const Guest& guest : before_.guests) earlier.emplace(guest.name, &guest);
  for (const Guest& guest : now.guests) {
    const auto at = earlier.find(guest.name);
    add_guest(guest, at != earlier.end() ? at->second : nullptr, point);
  }
  const double resident = number(now.sum(&Guest::resident));
  point.gauges[Gauge::budget] = number(now.memory);
  point.gauges[Gauge::min_free] = number(now.min_free);
  point.gauges[Gauge::resident] = resident;
  point.gauges[Gauge::copies] = number(now.share_frames);
  point.gauges[Gauge::other] = std::max(0.0, number(now.consumed) - resident - number(now.share_frames));
  point.gauges[Gauge::free] = number(now.free);
  point.gauges[Gauge::saved] = number(now.shared_saved);
  add_point(point);

  if (host_.samples == 0) {
    host_.first_ms = wall_time_ms;
    host_.free_min = now.free;
  }
  host_.last_ms = wall_time_ms;
  ++host_.samples;
  host_.pid = now.pid;
  host_.version = now.version;
  host_.level = now.capability_level;
  host_.nodes = now.homes.size();
  host_.memory = now.memory;
  host_.consumed_max = std::max(host_.consumed_max, now.consumed);
  host_.free_min = std::min(host_.free_min, now.free);
  host_.swapped_max = std::max(host_.swapped_max, now.swapped);
  host_.ballooned_max = std::max(host_.ballooned_max, now.ballooned);
  host_.saved_max = std::max(host_.saved_max, now.shared_saved);
  if (now.memory > 0)
    host_.overcommit_max = std::max(host_.overcommit_max, number(now.sum(&Guest::memory)) / number(now.memory));
  ++host_.state_samples[point.state];
  before_ = now;
}

void RecordData::add_point(const Point& point) {
  if (!points_.empty() && points_.back().samples < per_point_) {
    points_.back().add(point);
    return;
  }
  if (points_.size() == kMostPoints) {
    // Two become one.
    for (std::size_t i = 0; i < points_.size() / 2; ++i) {
      if (i > 0) points_[i] = std::move(points_[2 * i]);
      points_[i].add(points_[2 * i + 1]);
    }
    points_.resize(points_.size() / 2);
    per_point_ *= 2;
  }
  points_.push_back(point);
}

}  // namespace vmmctl
