// RecordData: what a report shows of a record, gathered line by line in little memory: however long the record is, at
// most kMostPoints moments are kept, each the mean of as many samples as it takes.
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "snapshot.h"
#include "top_model.h"

namespace vmmctl {

constexpr std::size_t kMostPoints = 600;
constexpr std::size_t kMostEvents = 5000;

// Figures that are means over the samples of a point, in bytes.
enum class Gauge : std::size_t {
  budget,
  min_free,
  // Of the budget.
  resident,
  copies,
  other,
  free,
  // Of the guests' sizes; with `resident`.
  shared,
  swapped,
  ballooned,
  untouched,
  balloon_target,
  balloon_max,
  saved,
  local,
  remote,
  count
};
// What happened between samples: sums over those of a point.
enum class Flow : std::size_t { fills, rescues, swap_ins, pops, stalls, read, written, migrated, count };
enum class GuestGauge : std::size_t { resident, target, active, swapped, ballooned, count };

template <class Names>
struct Figures {
  double& operator[](Names name) { return values[static_cast<std::size_t>(name)]; }
  double operator[](Names name) const { return values[static_cast<std::size_t>(name)]; }
  void add(const Figures& other) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(Names::count); ++i) values[i] += other.values[i];
  }
  double values[static_cast<std::size_t>(Names::count)] = {};
};

struct Point {
  std::int64_t wall_time_ms = 0;  // of its last sample
  std::uint64_t samples = 0;
  double seconds = 0;     // that the flows took
  std::size_t state = 0;  // the worst, index into state_names()
  Figures<Gauge> gauges;
  Figures<Flow> flows;
  struct OfGuest {
    std::uint64_t samples = 0;
    Figures<GuestGauge> gauges;
  };
  std::vector<OfGuest> guests;  // by index into RecordData::guests(); may be shorter

  void add(const Point& later);
};

// Exact, over all samples.
struct GuestSummary {
  Guest last;  // as last seen
  std::uint64_t samples = 0;
  std::uint64_t resident_min = 0, resident_max = 0, swapped_max = 0, ballooned_max = 0, saved_max = 0;
  double resident_sum = 0;
  // During the record.
  std::uint64_t faults = 0, swapped_in = 0, swapped_out = 0, migrations = 0, stops = 0;
};

struct HostSummary {
  std::int64_t pid = 0;
  std::string version, level;
  std::int64_t first_ms = 0, last_ms = 0;
  std::uint64_t samples = 0, nodes = 0;
  std::uint64_t memory = 0, consumed_max = 0, free_min = 0, swapped_max = 0, ballooned_max = 0, saved_max = 0;
  double overcommit_max = 0;
  std::uint64_t state_samples[6] = {};  // by index into state_names()
};

// From plenty to none: "high" ... "low", and one for what is not known.
const std::vector<std::string>& state_names();

class RecordData {
 public:
  // A line without its '\n'. Errors: FailureKind::garbage (nothing is added).
  Result<void> add_line(const std::string& line);
  // Something to tell the reader.
  void add_note(std::string note) { notes_.push_back(std::move(note)); }

  const HostSummary& host() const { return host_; }
  const std::vector<Point>& points() const { return points_; }
  const std::vector<GuestSummary>& guests() const { return guests_; }
  const std::deque<TimedEvent>& events() const { return events_; }
  std::uint64_t events_dropped() const { return events_dropped_; }
  const std::vector<std::string>& notes() const { return notes_; }
  // Samples that one point stands for, at most.
  std::uint64_t samples_per_point() const { return per_point_; }
  const std::string& end() const { return end_; }

 private:
  void add_snapshot(const Snapshot& now, std::int64_t wall_time_ms, bool restarted);
  void add_guest(const Guest& guest, const Guest* before, Point& point);
  void add_point(const Point& point);

  HostSummary host_;
  std::vector<Point> points_;
  std::uint64_t per_point_ = 1;
  std::vector<GuestSummary> guests_;
  std::map<std::string, std::size_t> index_;
  std::deque<TimedEvent> events_;
  std::uint64_t events_dropped_ = 0;
  std::vector<std::string> notes_;
  std::string end_;
  Snapshot before_;
};

}  // namespace vmmctl
