// Histogram of durations in nanoseconds: 16 linear steps per power of two (relative error at most 1/16),
// as in HdrHistogram, and a count for each 16 steps, so that a summary reads some dozens of words. Fixed size, 5.4 KiB.
// Thread-safety: record() from one thread (a fault thread) while others read: atomics.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "vmm/stats.h"

namespace vmm::base {

class Histogram {
 public:
  void record(std::uint64_t ns) noexcept {
    const auto cell = index(ns);
    add(cells_[cell], 1);
    add(groups_[cell / kSteps], 1);
    add(sum_, ns);
    if (ns > max_.load(std::memory_order_relaxed)) max_.store(ns, std::memory_order_relaxed);
    // Last: who has read it sees the rest.
    count_.store(count_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

  std::uint64_t count() const noexcept { return count_.load(std::memory_order_acquire); }
  LatencySummary summary() const noexcept { return merged({this}); }

  // Of several histograms as if they were one. Quantiles are the upper edge of their step, capped at the maximum.
  static LatencySummary merged(std::initializer_list<const Histogram*> parts) noexcept {
    LatencySummary s;
    for (const auto* part : parts) {
      s.count += part->count();
      s.sum_ns += load(part->sum_);
      s.max_ns = std::max(s.max_ns, load(part->max_));
    }
    if (s.count == 0) return s;
    std::array<Quantile, 2> quantiles{{{rank(0.50, s.count), &s.p50_ns}, {rank(0.99, s.count), &s.p99_ns}}};
    std::size_t found = 0;
    std::uint64_t seen = 0;
    for (std::size_t group = 0; group < kGroups && found < quantiles.size(); ++group) {
      std::uint64_t in_group = 0;
      for (const auto* part : parts) in_group += load(part->groups_[group]);
      if (seen + in_group > quantiles[found].rank) {
        auto within = seen;
        for (auto cell = group * kSteps; cell < (group + 1) * kSteps; ++cell) {
          for (const auto* part : parts) within += load(part->cells_[cell]);
          for (; found < quantiles.size() && within > quantiles[found].rank; ++found)
            *quantiles[found].value = std::min(upper_edge(cell), s.max_ns);
        }
      }
      seen += in_group;
      // Counted in the group, and not yet seen in its step.
      for (; found < quantiles.size() && seen > quantiles[found].rank; ++found)
        *quantiles[found].value = std::min(upper_edge(group * kSteps + kSteps - 1), s.max_ns);
    }
    for (; found < quantiles.size(); ++found) *quantiles[found].value = s.max_ns;
    return s;
  }

  // Adds all to a coarser one. Its count is that of its buckets, whatever is recorded meanwhile.
  void add_to(LatencyHistogram& sum) const noexcept {
    const auto first = index(LatencyHistogram::up_to_ns(0)) / kSteps;
    for (std::size_t group = 0; group < kGroups; ++group) {
      const auto bucket = std::min(group > first ? group - first : 0, LatencyHistogram::kBuckets - 1);
      const auto n = load(groups_[group]);
      sum.counts[bucket] += n;
      sum.count += n;
    }
    sum.sum_ns += load(sum_);
  }

  // Step of a value, and the greatest value of a step: their composition is the contract under test.
  static constexpr std::size_t index(std::uint64_t ns) noexcept {
    if (ns < kSteps) return static_cast<std::size_t>(ns);
    const auto magnitude = static_cast<std::size_t>(std::bit_width(ns)) - 5;
    const auto cell = magnitude * kSteps + static_cast<std::size_t>(ns >> magnitude);
    return cell < kCells ? cell : kCells - 1;
  }
  static constexpr std::uint64_t upper_edge(std::size_t cell) noexcept {
    if (cell < 2 * kSteps) return cell;
    const std::size_t magnitude = cell / kSteps - 1;
    return ((cell - magnitude * kSteps + 1) << magnitude) - 1;
  }

 private:
  static constexpr std::size_t kSteps = 16;
  static constexpr std::size_t kCells = 640;  // up to 2^43 ns, over two hours
  static constexpr std::size_t kGroups = kCells / kSteps;
  struct Quantile {
    std::uint64_t rank;
    std::uint64_t* value;
  };
  static std::uint64_t rank(double quantile, std::uint64_t count) noexcept {
    return static_cast<std::uint64_t>(quantile * static_cast<double>(count));
  }
  static std::uint64_t load(const std::atomic<std::uint64_t>& a) noexcept { return a.load(std::memory_order_relaxed); }
  // There is one writer.
  static void add(std::atomic<std::uint64_t>& a, std::uint64_t more) noexcept {
    a.store(load(a) + more, std::memory_order_relaxed);
  }

  std::atomic<std::uint64_t> count_{0}, sum_{0}, max_{0};
  std::array<std::atomic<std::uint64_t>, kGroups> groups_{};
  std::array<std::atomic<std::uint64_t>, kCells> cells_{};
};

}  // namespace vmm::base
