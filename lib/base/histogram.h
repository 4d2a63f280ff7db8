// Histogram of durations in nanoseconds: 16 linear steps per power of two (relative error at most 1/16),
// as in HdrHistogram. Fixed size, 8 KiB.
// Thread-safety: record() from one thread (a fault thread) while others read summary(): relaxed atomics.
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
    auto& cell = cells_[index(ns)];
    cell.store(cell.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (ns > max_.load(std::memory_order_relaxed)) max_.store(ns, std::memory_order_relaxed);
  }

  LatencySummary summary() const noexcept { return merged({this}); }

  // Of several histograms as if they were one. Quantiles are the upper edge of their step, capped at the maximum.
  static LatencySummary merged(std::initializer_list<const Histogram*> parts) noexcept {
    LatencySummary s;
    std::array<std::uint64_t, kCells> copy{};
    for (const auto* part : parts) {
      for (std::size_t i = 0; i < kCells; ++i) copy[i] += part->cells_[i].load(std::memory_order_relaxed);
      s.max_ns = std::max(s.max_ns, part->max_.load(std::memory_order_relaxed));
    }
    for (const auto count : copy) s.count += count;
    const auto quantile = [&](double q) {
      const auto rank = static_cast<std::uint64_t>(q * static_cast<double>(s.count));
      std::uint64_t seen = 0;
      for (std::size_t i = 0; i < kCells; ++i) {
        seen += copy[i];
        if (seen > rank) return upper_edge(i) < s.max_ns ? upper_edge(i) : s.max_ns;
      }
      return s.max_ns;
    };
    if (s.count > 0) {
      s.p50_ns = quantile(0.50);
      s.p99_ns = quantile(0.99);
    }
    return s;
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
  std::array<std::atomic<std::uint64_t>, kCells> cells_{};
  std::atomic<std::uint64_t> max_{0};
};

}  // namespace vmm::base
