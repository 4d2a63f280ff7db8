// Active memory: how much of a guest is in use, estimated from samples. In each period some random pages are watched;
// the part of them that is touched is the sample. Use is believed at once, idleness slowly: what is published is the
// largest of a slow average, a fast one, and the sample that is being taken (Waldspurger, "Memory Resource Management
// in VMware ESX Server", OSDI 2002, section 5.3).
// Thread-safety: pure functions of their arguments.
#pragma once

#include <cstdint>

namespace vmm::policy {

struct ActiveSample {
  std::uint64_t pages = 0;    // watched, different ones; 0 = no sample
  std::uint64_t touched = 0;  // of them
  double fraction() const noexcept {
    return pages == 0 ? 0 : static_cast<double>(touched) / static_cast<double>(pages);
  }
};

// Weights of a new sample. 0.35^3 < 0.05: three periods after a guest has gone from wholly active to whatever level, the
// slow average is within 5 points of it. The fast one is nearly the last sample, so that when a period begins, with
// nothing touched yet, what the last one has seen is not forgotten.
inline constexpr double kSlowWeight = 0.65, kFastWeight = 0.97;

// Fractions of the guest, 0..1.
struct ActiveHistory {
  double slow = 1, fast = 1;
  double last = 0;            // the last whole period's sample
  std::uint64_t periods = 0;  // whole ones
  std::uint64_t pages = 0;    // watched in the last one
};

// After a whole period. A sample of no pages says nothing and changes nothing; the first one is believed as it is.
ActiveHistory next(const ActiveHistory& history, const ActiveSample& whole) noexcept;

struct ActiveEstimate {
  double fraction = 1;    // in use; 1 before the first whole period: all counts as active
  double error = 0;       // standard error of the last sample
  bool sampled = false;   // there was a whole period
};

// `running` is the sample so far of the period under way; the guest has `guest_pages` pages.
ActiveEstimate estimate(const ActiveHistory& history, const ActiveSample& running, std::uint64_t guest_pages) noexcept;

// Of a sample of n different pages out of `of`, of which the fraction f is active: sqrt(f(1-f)/n * (of-n)/(of-1)). At
// most 5 points at n = 100; 0 when every page was watched. 1 without a sample.
double standard_error(double f, std::uint64_t n, std::uint64_t of) noexcept;

}  // namespace vmm::policy
