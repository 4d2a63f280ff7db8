#include "record_data.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "rates.h"
#include "text.h"

namespace vmmctl {
namespace {

using nlohmann::json;

// A clock that differs by less is only being adjusted.
constexpr std::int64_t kStepMs = 3000;
// Later is no time that a browser can show.
constexpr std::int64_t kLastMs = 4'000'000'000'000'000;

std::size_t state_index(const std::string& name) {
  const auto& names = state_names();
  return static_cast<std::size_t>(std::find(names.begin(), names.end() - 1, name) - names.begin());
}

std::int64_t integer_in(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_number_integer() ? at->get<std::int64_t>() : 0;
}

std::int64_t to_ms(std::uint64_t ns) { return static_cast<std::int64_t>(ns / 1'000'000); }

std::string step_text(std::int64_t ms) {
  constexpr std::int64_t kLongest = 10'000'000'000'000;
  const auto length = static_cast<std::uint64_t>(std::min(std::abs(ms), kLongest));
  return duration_text(length * 1'000'000) + (ms > 0 ? " forward" : " back");
}

}  // namespace

const std::vector<std::string>& state_names() {
  static const std::vector<std::string> names{"high", "clear", "soft", "hard", "low", "unknown"};
  return names;
}

void Point::add(const Point& later) {
  time_ms = later.time_ms;
  samples += later.samples;
  seconds += later.seconds;
  state = std::max(state, later.state);
  gauges.add(later.gauges);
  flows.add(later.flows);
}

void RecordData::note_of_line(std::int64_t time_ms, const std::string& note) {
  if (line_notes_ == kMostLineNotes) {
    ++notes_dropped_;
    return;
  }
  ++line_notes_;
  add_note(clock_text(time_ms) + " " + note);
}

Result<void> RecordData::add_line(const std::string& line) {
  auto document = parse_json(line);
  if (!document) return tl::unexpected(document.error());
  if (!document->is_object()) return fail(FailureKind::garbage, "not an object");
  const std::int64_t written_ms = std::clamp<std::int64_t>(integer_in(*document, "wall_time_ms"), 0, kLastMs);
  for (const char* name : {"end", "error"}) {
    const auto at = document->find(name);
    if (at == document->end() || !at->is_string()) continue;
    const auto text = at->get<std::string>();
    if (std::string_view(name) == "end") {
      end_ = text;
      ended_ = true;
    } else {
      // On the scale of the samples.
      note_of_line(written_ms + (host_.last_ms - wall_ms_), "no answer: " + text);
    }
    return {};
  }
  const auto stats = document->find("stats");
  if (stats == document->end()) return fail(FailureKind::garbage, "neither \"stats\", \"error\" nor \"end\"");
  const auto snapshot = parse_snapshot(*stats);
  if (!snapshot) return tl::unexpected(snapshot.error());
  const auto restarted = document->find("restarted");
  const After after = after_what(*snapshot, restarted != document->end() && *restarted == true);
  const std::int64_t wall_ms = snapshot->wall_time_ms > 0 ? std::min(snapshot->wall_time_ms, kLastMs) : written_ms;
  const std::int64_t time_ms = placed(*snapshot, wall_ms, after);
  if (after == After::another_host) note_of_line(time_ms, "another host has taken the first one's place");
  add_snapshot(*snapshot, time_ms, after);

  const std::int64_t lost = integer_in(*document, "lost");
  if (lost > 0) note_of_line(time_ms, std::to_string(lost) + " events were lost before they were read");
  const auto events = document->find("events");
  if (events == document->end() || !events->is_array()) return {};
  for (const json& event : *events) {
    if (!event.is_object()) continue;
    TimedEvent timed{parse_event(event), time_ms};
    timed.wall_time_ms -= static_cast<std::int64_t>(snapshot->time_ns - timed.event.time_ns) / 1'000'000;
    events_.push_back(std::move(timed));
    if (events_.size() > kMostEvents) {
      events_.pop_front();
      ++events_dropped_;
    }
  }
  return {};
}

RecordData::After RecordData::after_what(const Snapshot& now, bool restarted) const {
  if (host_.samples == 0 || ended_) return After::nothing;
  if (restarted) return After::another_host;
  // One that is driven by hand may stand still between samples.
  return now.pid == before_.pid && now.time_ns >= before_.time_ns ? After::its_host : After::nothing;
}

std::int64_t RecordData::placed(const Snapshot& now, std::int64_t wall_time_ms, After after) {
  std::int64_t time_ms = 0, step = 0;
  if (after == After::its_host) {
    time_ms = std::min(run_ms_ + to_ms(now.time_ns - run_ns_), kLastMs);
    step = (wall_time_ms - wall_ms_) - (time_ms - host_.last_ms);
  } else {
    time_ms = host_.samples > 0 ? std::max(wall_time_ms, host_.last_ms) : wall_time_ms;
    step = wall_time_ms - time_ms;
    run_ns_ = now.time_ns;
    run_ms_ = time_ms;
  }
  wall_ms_ = wall_time_ms;
  if (std::abs(step) > kStepMs)
    note_of_line(time_ms, "the system's clock went " + step_text(step) +
                              " against the host's: one was set, or the machine slept. Times go on by the host's.");
  return time_ms;
}

void RecordData::add_guest(const Guest& guest, const Guest* before, bool known, Point& sample) {
  const auto growth = [&](std::uint64_t Guest::*counter) { return known ? grown(guest, before, counter) : 0; };
  guests_.add(guest,
              {growth(&Guest::faults), growth(&Guest::swapped_in), growth(&Guest::swapped_out),
               growth(&Guest::migrations), growth(&Guest::stops)},
              points_.size() - 1);

  sample.gauges[Gauge::shared] += number(guest.shared);
  sample.gauges[Gauge::swapped] += number(guest.swapped);
  sample.gauges[Gauge::ballooned] += number(guest.ballooned);
  const std::uint64_t in_place = guest.resident + guest.shared + guest.swapped + guest.ballooned;
  sample.gauges[Gauge::untouched] += number(guest.memory > in_place ? guest.memory - in_place : 0);
  sample.gauges[Gauge::balloon_target] += number(guest.balloon_target);
  sample.gauges[Gauge::balloon_max] += number(guest.balloon_max);
  sample.gauges[Gauge::local] += number(guest.local);
  sample.gauges[Gauge::remote] += number(guest.remote);
  sample.flows[Flow::fills] += number(growth(&Guest::fills));
  sample.flows[Flow::rescues] += number(growth(&Guest::rescues));
  sample.flows[Flow::swap_ins] += number(growth(&Guest::swap_ins));
  sample.flows[Flow::pops] += number(growth(&Guest::balloon_pops));
  sample.flows[Flow::stalls] += number(growth(&Guest::stalls));
  sample.flows[Flow::read] += number(growth(&Guest::swapped_in));
  sample.flows[Flow::written] += number(growth(&Guest::swapped_out));
  sample.flows[Flow::migrated] += number(growth(&Guest::migrated));
}

void RecordData::add_snapshot(const Snapshot& now, std::int64_t time_ms, After after) {
  Point& point = point_for_sample();
  Point sample;
  sample.time_ms = time_ms;
  sample.samples = 1;
  if (after == After::its_host)
    sample.seconds = number(now.time_ns - before_.time_ns) / 1e9;
  else if (after == After::another_host)
    sample.seconds = static_cast<double>(time_ms - host_.last_ms) / 1e3;
  sample.state = state_index(now.state);
  // Of another host none was there before.
  const Snapshot none;
  const EarlierGuests earlier(after == After::its_host ? before_ : none);
  for (const Guest& guest : now.guests) add_guest(guest, earlier.find(guest), after != After::nothing, sample);
  guests_.end_moment();
  sample.flows.add(without_time_);
  without_time_ = {};
  if (sample.seconds <= 0) std::swap(sample.flows, without_time_);
  const double resident = number(now.sum(&Guest::resident));
  sample.gauges[Gauge::budget] = number(now.memory);
  sample.gauges[Gauge::min_free] = number(now.min_free);
  sample.gauges[Gauge::resident] = resident;
  sample.gauges[Gauge::copies] = number(now.share_frames);
  sample.gauges[Gauge::other] = std::max(0.0, number(now.consumed) - resident - number(now.share_frames));
  sample.gauges[Gauge::free] = number(now.free);
  sample.gauges[Gauge::withheld] = number(now.withheld_unused());
  sample.gauges[Gauge::saved] = number(now.shared_saved);
  point.add(sample);

  if (host_.samples == 0) {
    host_.first_ms = time_ms;
    host_.free_min = now.free;
  }
  host_.last_ms = time_ms;
  ++host_.samples;
  host_.pid = now.pid;
  host_.version = now.version;
  host_.level = now.capability_level;
  host_.nodes = now.homes.size();
  host_.memory = now.memory;
  host_.consumed_max = std::max(host_.consumed_max, now.consumed);
  host_.free_min = std::min(host_.free_min, now.free);
  host_.withheld_max = std::max(host_.withheld_max, now.withheld);
  host_.swapped_max = std::max(host_.swapped_max, now.swapped);
  host_.ballooned_max = std::max(host_.ballooned_max, now.ballooned);
  host_.saved_max = std::max(host_.saved_max, now.shared_saved);
  if (now.memory > 0)
    host_.overcommit_max = std::max(host_.overcommit_max, number(now.sum(&Guest::memory)) / number(now.memory));
  ++host_.state_samples[sample.state];
  before_ = now;
  if (ended_) end_.clear();
  ended_ = false;
}

Point& RecordData::point_for_sample() {
  if (!points_.empty() && points_.back().samples < per_point_) return points_.back();
  if (points_.size() == kMostPoints) {
    // Two become one.
    for (std::size_t i = 0; i < points_.size() / 2; ++i) {
      if (i > 0) points_[i] = points_[2 * i];
      points_[i].add(points_[2 * i + 1]);
    }
    points_.resize(points_.size() / 2);
    guests_.halve_points();
    per_point_ *= 2;
  }
  return points_.emplace_back();
}

}  // namespace vmmctl
