// RecordData: what a report shows of a record, gathered line by line in little memory: however long the record is and
// however many guests come and go in it, at most kMostPoints moments are kept, each the mean of as many samples as it
// takes, a bounded number of guests (record_guests.h), and the last kMostEvents events.
//
// Time: the host's own clock tells how much passes between samples. A run of a host is placed by the system's clock at
// its first sample, not before what came earlier, and goes on by its own: that the system's clock is set, or stands
// still while the machine sleeps, changes no distance.
//
// Growth: a guest that the sample before does not show, or shows with another id, was created since, and what it has
// counted has happened since. So it is with all guests of a host that the recorder has met in place of an earlier one.
// Of the first sample of a record it is not known what happened before: it counts as nothing.
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "figures.h"
#include "record_guests.h"
#include "snapshot.h"
#include "top_model.h"

namespace vmmctl {

constexpr std::size_t kMostPoints = 600;
constexpr std::size_t kMostEvents = 5000;
constexpr std::size_t kMostLineNotes = 200;

// Figures that are means over the samples of a point, in bytes.
enum class Gauge : std::size_t {
  budget,
  min_free,
  // Of the budget.
  resident,
  copies,
  other,
  free,
  withheld,
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

struct Point {
  std::int64_t time_ms = 0;  // of its last sample
  std::uint64_t samples = 0;
  double seconds = 0;     // that the flows took
  std::size_t state = 0;  // the worst, index into state_names()
  Figures<Gauge> gauges;
  Figures<Flow> flows;

  void add(const Point& later);
};

struct HostSummary {
  std::int64_t pid = 0;
  std::string version, level;
  std::int64_t first_ms = 0, last_ms = 0;
  std::uint64_t samples = 0, nodes = 0;
  std::uint64_t memory = 0, consumed_max = 0, free_min = 0, swapped_max = 0, ballooned_max = 0, saved_max = 0;
  std::uint64_t withheld_max = 0;
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
  // Their times never fall.
  const std::vector<Point>& points() const { return points_; }
  const RecordedGuests& guests() const { return guests_; }
  const std::deque<TimedEvent>& events() const { return events_; }
  std::uint64_t events_dropped() const { return events_dropped_; }
  const std::vector<std::string>& notes() const { return notes_; }
  // Of lines, that are not among notes(): only the first kMostLineNotes are.
  std::uint64_t notes_dropped() const { return notes_dropped_; }
  // Samples that one point stands for, at most.
  std::uint64_t samples_per_point() const { return per_point_; }
  const std::string& end() const { return end_; }

 private:
  // What a sample comes after.
  enum class After { nothing, its_host, another_host };

  After after_what(const Snapshot& now, bool restarted) const;
  // When it was, from the host's time and the system's.
  std::int64_t placed(const Snapshot& now, std::int64_t wall_time_ms, After after);
  void note_of_line(std::int64_t time_ms, const std::string& note);
  void add_snapshot(const Snapshot& now, std::int64_t time_ms, After after);
  void add_guest(const Guest& guest, const Guest* before, bool known, Point& sample);
  Point& point_for_sample();

  HostSummary host_;
  std::vector<Point> points_;
  std::uint64_t per_point_ = 1;
  RecordedGuests guests_;
  std::deque<TimedEvent> events_;
  std::uint64_t events_dropped_ = 0;
  std::vector<std::string> notes_;
  std::size_t line_notes_ = 0;
  std::uint64_t notes_dropped_ = 0;
  std::string end_;
  Snapshot before_;
  Figures<Flow> without_time_;  // what happened while the host's clock stood: the next sample's
  bool ended_ = false;  // another record may follow in the file: nothing is known of the time between
  // Where the run of the host begins: by the host's clock, and when that was.
  std::uint64_t run_ns_ = 0;
  std::int64_t run_ms_ = 0;
  std::int64_t wall_ms_ = 0;  // the system's clock at the last sample
};

}  // namespace vmmctl
