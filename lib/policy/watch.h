// Budget watch: when to look at native guests again, and when they must be managed.
//
// Native guests grow without asking. In huge pages one thread was measured to take 20 GB/s and two 30 GB/s, in small
// ones 3 and 6; looking after headroom / growth sees every growth in time.
// Thread-safety: pure functions.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "vmm/units.h"

namespace vmm::policy {

// Bytes a second that threads on that many processors can take: what zeroing takes, and no more than the memory gives.
constexpr std::uint64_t fastest_growth(std::uint64_t processors) noexcept {
  return std::clamp<std::uint64_t>(processors, 1, 16) * 16'000'000'000;
}

// What may be taken from the moment that free memory is found to be short until the last guest is registered: some
// milliseconds until a thread runs on a busy machine, and one a guest.
constexpr std::uint64_t late_growth(std::uint64_t growth) noexcept { return growth / 1000 * 16; }

// Free memory (bytes) below which guests are managed: a quarter of the budget, at most what the watch can be late by
// above what is kept free.
constexpr std::uint64_t manage_below(std::uint64_t budget, double min_free, std::uint64_t growth) noexcept {
  const auto keep = static_cast<std::uint64_t>(min_free * static_cast<double>(budget));
  return std::max(keep + keep / 4, std::min(budget / 4, keep + late_growth(growth)));
}

// Whether a quarter of the budget is enough to be late in: in a smaller one guests that could outgrow it are managed
// from the beginning.
constexpr bool can_watch(std::uint64_t budget, std::uint64_t growth) noexcept {
  return budget / 4 >= late_growth(growth);
}

// Time to the next look. Between 1 ms, as often as a thread can well be woken, and 100 ms.
constexpr std::chrono::nanoseconds watch_period(std::uint64_t free, std::uint64_t manage_at,
                                                std::uint64_t growth) noexcept {
  const auto headroom = free > manage_at ? free - manage_at : 0;
  const std::chrono::nanoseconds exact(
      static_cast<std::int64_t>(static_cast<double>(headroom) / static_cast<double>(growth) * 1e9));
  return std::clamp<std::chrono::nanoseconds>(exact, std::chrono::milliseconds(1), std::chrono::milliseconds(100));
}

}  // namespace vmm::policy
