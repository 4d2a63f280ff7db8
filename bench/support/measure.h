// Measuring two things side by side: timers, samples, and pairs that take turns.
//
// What runs beside a benchmark on a small machine changes from second to second. So a figure and its peer are
// measured in short turns, who goes first alternates, and a ratio is the median over the pairs.
// Thread-safety: one thread.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

namespace vmm::bench {

inline double now_seconds() noexcept {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Processor time that `who` has had, in seconds: RUSAGE_SELF, all threads of the process; RUSAGE_THREAD, the caller.
inline double cpu_seconds(int who) noexcept {
  rusage usage{};
  ::getrusage(who, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

// Seconds that `work` takes.
template <class Work>
double seconds(Work&& work) {
  const double begin = now_seconds();
  work();
  return now_seconds() - begin;
}

// Lets threads that work behind the last measurement come to rest.
inline void settle() { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }

class Samples {
 public:
  void add(double value) { values_.push_back(value); }
  std::size_t size() const noexcept { return values_.size(); }
  double median() const { return quantile(0.5); }
  double quantile(double q) const {
    auto sorted = values_;
    const auto at = std::min(sorted.size() - 1, static_cast<std::size_t>(q * static_cast<double>(sorted.size())));
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(at), sorted.end());
    return sorted[at];
  }
  double operator[](std::size_t i) const { return values_[i]; }

 private:
  std::vector<double> values_;
};

// A figure and its peer, seconds both.
struct Pair {
  Samples ours, peer;
  double ratio() const {
    Samples ratios;
    for (std::size_t i = 0; i < ours.size(); ++i) ratios.add(ours[i] / peer[i]);
    return ratios.median();
  }
};

// Measures both in turn, `times` times; each is a function that returns its seconds. One turn more, not counted,
// warms up.
template <class Ours, class Peer>
Pair take_turns(int times, Ours&& ours, Peer&& peer) {
  Pair pair;
  for (int i = -1; i < times; ++i) {
    double a = 0, b = 0;
    if (i % 2 == 0) {
      a = ours();
      b = peer();
    } else {
      b = peer();
      a = ours();
    }
    if (i < 0) continue;
    pair.ours.add(a);
    pair.peer.add(b);
  }
  return pair;
}

}  // namespace vmm::bench
