// CPU division: what each guest of a node gets of the node's processors when threads wait for them.
//
// The kernel's scheduler gives every thread that wants it the same time, and what one does not use to the others. So
// there is a level: threads that want less have what they want, the others the level. Shares do not count, but where
// threads have weights (policy/thread_weights.h).
// Built once for a node; then it tells, in O(log n), what would be with one guest more or less.
// Thread-safety: immutable after construction.
#pragma once

#include <vector>

namespace vmm::policy {

struct DividedGuest {
  double parts = 1;    // of the level that it gets at most: its threads, or what they weigh together; > 0
  double wanted = 0;   // processors, together
  double weight = 0;   // of what it gets, in weighted_sum
};

class CpuDivision {
 public:
  CpuDivision(double processors, std::vector<DividedGuest> guests);

  double processors() const noexcept { return processors_; }
  double wanted() const noexcept { return sums_.back().wanted; }

  // Processors for a thread; infinite where everybody has what it wants.
  double level() const;
  double level_with(const DividedGuest& more) const { return level(more.parts, more.wanted); }
  double level_without(const DividedGuest& one_of_them) const {
    return level(-one_of_them.parts, -one_of_them.wanted);
  }
  static double received(const DividedGuest& guest, double level);
  // Sum over the guests of weight times what they get.
  double weighted_sum(double level) const;

 private:
  double level(double parts, double wanted) const;

  struct Sums {  // over the guests before one
    double parts = 0, wanted = 0, weighted_wanted = 0, weighted_parts = 0;
  };
  double processors_;
  std::vector<DividedGuest> guests_;  // by what a part of theirs wants, ascending
  std::vector<Sums> sums_;            // one more than guests
};

}  // namespace vmm::policy
