// RecordedGuests: what a report shows of the guests of a record, one name after another. It holds a bounded number of
// guests and of points, however many come and go: those that held least memory are given up first, and what they did
// stays in a sum. More guests than that at one moment are all held.
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "figures.h"
#include "snapshot.h"

namespace vmmctl {

constexpr std::size_t kMostCharted = 50;    // those that held most memory
constexpr std::size_t kMostListed = 2000;   // of the others, the sum of what they did
constexpr std::size_t kMostGuestPoints = 600'000;  // of all guests together: a thousand that last from begin to end

enum class GuestGauge : std::size_t { resident, target, active, swapped, count };

// Sums over the samples of a point in which the guest is.
struct GuestPoint {
  std::uint64_t samples = 0;
  Figures<GuestGauge> gauges;

  void add(const GuestPoint& later);
};

// What guests did during the record, as far as a sample shows them: what one counted is known from its creation, if
// that is in the record, to the last sample in which it is.
struct GuestGrowth {
  std::uint64_t faults = 0, swapped_in = 0, swapped_out = 0, migrations = 0, stops = 0;

  void add(const GuestGrowth& other);
};

// All guests of one name. Exact, over all samples.
struct GuestSummary {
  Guest last;  // as last seen
  std::uint64_t samples = 0;
  std::uint64_t resident_min = 0, resident_max = 0, swapped_max = 0, ballooned_max = 0, saved_max = 0;
  double resident_sum = 0;
  GuestGrowth growth;
  // From the point in which it was first seen, or first since they were given up, to that in which it was last.
  std::size_t first_point = 0;
  std::vector<GuestPoint> points;
  bool points_given_up = false;
  std::uint64_t last_moment = 0;  // in which it was seen
};

// Those that are not held.
struct OtherGuests {
  std::uint64_t guests = 0;
  GuestGrowth growth;

  void add(const GuestSummary& guest);
};

class RecordedGuests {
 public:
  // A guest in a sample that belongs to the point of that index.
  void add(const Guest& guest, const GuestGrowth& growth, std::size_t point);
  // All guests of the sample are added: makes room for those to come.
  void end_moment();
  // Two points have become one, from the first on.
  void halve_points();

  // In the order in which they were first seen.
  const std::vector<GuestSummary>& held() const { return held_; }
  // One of them that comes back is another then.
  const OtherGuests& others() const { return others_; }
  // Points that are held, of all guests.
  std::size_t points() const { return points_; }
  // Indices of those of held() that held most memory, ascending: for the table, and for charts.
  std::vector<std::size_t> listed() const;
  std::vector<std::size_t> charted() const;

 private:
  void give_up_points();
  void give_up_guests();

  std::vector<GuestSummary> held_;
  std::map<std::string, std::size_t> index_;  // by name, into held_
  OtherGuests others_;
  std::uint64_t moment_ = 1;
  std::size_t points_ = 0;
  std::uint64_t given_up_below_ = 0;  // a guest that has come to hold more has points again, from then on
  std::size_t give_up_at_ = 2 * kMostListed;  // guests
};

}  // namespace vmmctl
