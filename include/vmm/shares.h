// Shares: how much of the memory a guest, or a pool of guests, may claim against its siblings while memory is short.
// Source of the figures: the public vSphere resource-management manuals.
// Thread-safety: plain values.
#pragma once

#include <cstdint>

#include "vmm/units.h"

namespace vmm {

// So many for each MiB, or a number of them.
class Shares {
 public:
  // 5 shares for each MiB of the guest; a pool counts as a guest of 16 GiB.
  static constexpr Shares low() noexcept { return Shares(5, 0); }
  // 10 for each MiB.
  static constexpr Shares normal() noexcept { return Shares(10, 0); }
  // 20 for each MiB.
  static constexpr Shares high() noexcept { return Shares(20, 0); }
  // That many, whatever the size; at least 1.
  static constexpr Shares custom(std::uint64_t count) noexcept { return Shares(0, count); }

  // Of a guest of that many bytes.
  constexpr std::uint64_t of(std::uint64_t memory) const noexcept {
    if (per_mib_ == 0) return count_;
    const std::uint64_t mib = memory / MiB;
    return per_mib_ * (mib > 0 ? mib : 1);
  }
  bool operator==(const Shares&) const = default;

 private:
  constexpr Shares(std::uint64_t per_mib, std::uint64_t count) noexcept : per_mib_(per_mib), count_(count) {}
  std::uint64_t per_mib_;
  std::uint64_t count_;
};

}  // namespace vmm
