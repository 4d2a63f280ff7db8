// Demand: how active a guest is, told by what becomes of the pages that are taken from it. Samples tell after minutes who
// is idle; a guest that is reclaimed shows it in seconds: parked pages of an active one are touched before they are
// written, or it reads and fills as much as it holds.
// Thread-safety: one thread at a time; told the time by its caller.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>

namespace vmm::policy {

class Demand {
 public:
  // Pages so far, ever growing.
  struct Counts {
    std::uint64_t left = 0;     // parked, then out of memory
    std::uint64_t rescued = 0;  // parked, then touched
    std::uint64_t brought = 0;  // read back, or touched for the first time
  };

  void see(std::chrono::nanoseconds now, const Counts& counts) noexcept {
    if (now - since_ < kInterval) return;
    const double keep = std::exp2(-std::chrono::duration<double>(now - since_) / kHalfLife);
    const auto blend = [&](double& sum, std::uint64_t count, std::uint64_t before) {
      sum = sum * keep + static_cast<double>(count - std::min(count, before));
    };
    blend(left_, counts.left, seen_.left);
    blend(rescued_, counts.rescued, seen_.rescued);
    blend(brought_, counts.brought, seen_.brought);
    seen_ = counts;
    since_ = now;
  }

  // Enough was taken from it of late to tell.
  bool known() const noexcept { return rescued_ + left_ >= kDoubt; }

  // 0..1, to be compared with other guests'; `held` pages are in memory. 1 as long as little is known.
  double activity(std::uint64_t held) const noexcept {
    const double missed = (rescued_ + kDoubt) / (rescued_ + left_ + kDoubt);
    const double turned_over = (rescued_ + brought_) / std::max(static_cast<double>(held), 1.0);
    return std::min(1.0, std::max(missed, turned_over));
  }

 private:
  static constexpr std::chrono::milliseconds kInterval{50};
  static constexpr std::chrono::seconds kHalfLife{4};
  static constexpr double kDoubt = 64;  // pages that are believed to be touched before any is seen

  std::chrono::nanoseconds since_{};
  Counts seen_;
  double left_ = 0, rescued_ = 0, brought_ = 0;
};

}  // namespace vmm::policy
