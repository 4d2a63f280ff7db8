// Clock: the time, as something a test can replace. Times are nanoseconds of CLOCK_MONOTONIC.
// Thread-safety: now() may be called from any thread, fault threads included.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace vmm::base {

using Nanos = std::chrono::nanoseconds;

// Since 1970 began, by the clock that is set: for people and logs, never for decisions.
inline std::uint64_t wall_time_ms() noexcept {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Nanos now() const noexcept = 0;
};

// Runs with CLOCK_MONOTONIC and can be set ahead of it; never goes back. By one thread at a time.
class ForwardClock final : public Clock {
 public:
  Nanos now() const noexcept override {
    return std::chrono::steady_clock::now().time_since_epoch() + Nanos(ahead_.load(std::memory_order_relaxed));
  }
  // It is at least `t` from now on. Returns what it is.
  Nanos advance_to(Nanos t) noexcept {
    const auto before = now();
    if (t <= before) return before;
    ahead_.fetch_add((t - before).count(), std::memory_order_relaxed);
    return t;
  }

 private:
  std::atomic<Nanos::rep> ahead_{0};
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
