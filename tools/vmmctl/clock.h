// Ticker: moments at equal distance, waited for; a signal or another descriptor ends the wait.
// Signals: SIGINT and SIGTERM as a descriptor, for programs that end cleanly.
// Thread-safety: one thread.
#pragma once

#include <chrono>

#include "descriptor.h"
#include "failure.h"

namespace vmmctl {

// Blocks SIGINT and SIGTERM and makes them readable.
class Signals {
 public:
  static Result<Signals> create();
  int descriptor() const { return fd_.get(); }
  // One has come.
  bool any() const;

 private:
  explicit Signals(Descriptor fd) : fd_(std::move(fd)) {}
  Descriptor fd_;
};

class Ticker {
 public:
  explicit Ticker(std::chrono::nanoseconds interval) : interval_(interval), next_(Clock::now() + interval) {}
  // False if `descriptor` became readable first. Moments that have passed meanwhile are left out.
  bool wait(int descriptor);

 private:
  using Clock = std::chrono::steady_clock;
  const std::chrono::nanoseconds interval_;
  Clock::time_point next_;
};

// Milliseconds since 1970.
std::int64_t wall_time_ms();

}  // namespace vmmctl
