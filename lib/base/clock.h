// Clock: the time, as something a test can replace. Times are nanoseconds of CLOCK_MONOTONIC.
// Thread-safety: now() may be called from any thread, fault threads included.
#pragma once

#include <atomic>
#include <chrono>

namespace vmm::base {

using Nanos = std::chrono::nanoseconds;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Nanos now() const noexcept = 0;
};

class MonotonicClock final : public Clock {
 public:
  Nanos now() const noexcept override { return std::chrono::steady_clock::now().time_since_epoch(); }
};

// Stands still until told otherwise.
class ManualClock final : public Clock {
 public:
  Nanos now() const noexcept override { return Nanos(now_.load(std::memory_order_relaxed)); }
  void set(Nanos t) noexcept { now_.store(t.count(), std::memory_order_relaxed); }
  void advance(Nanos d) noexcept { now_.fetch_add(d.count(), std::memory_order_relaxed); }

 private:
  std::atomic<Nanos::rep> now_{0};
};

}  // namespace vmm::base
