// Bytes of a guest that its threads may be writing to meanwhile: what is read of them holds for no moment, or for one that
// somebody else makes sure of. Word by word, and invisible to the sanitizers, which would take that for a mistake.
// Thread-safety: stateless.
#pragma once

#include <cstddef>
#include <cstdint>

#include "vmm/units.h"

namespace vmm::sharing {

inline constexpr std::size_t kPageWords = kPageSize / sizeof(std::uint64_t);

__attribute__((no_sanitize("thread"), no_sanitize("address"))) inline void copy_racy(std::byte* to,
                                                                                     const std::byte* from,
                                                                                     std::uint64_t pages) noexcept {
  auto* const words = reinterpret_cast<std::uint64_t*>(to);
  const auto* const source = reinterpret_cast<const std::uint64_t*>(from);
  for (std::uint64_t i = 0; i < pages * kPageWords; ++i) words[i] = __atomic_load_n(source + i, __ATOMIC_RELAXED);
}

// Of one page.
__attribute__((no_sanitize("thread"), no_sanitize("address"))) inline bool equal_racy(const std::byte* a,
                                                                                      const std::byte* b) noexcept {
  const auto* const x = reinterpret_cast<const std::uint64_t*>(a);
  const auto* const y = reinterpret_cast<const std::uint64_t*>(b);
  for (std::size_t at = 0; at < kPageWords; at += 8) {
    std::uint64_t differ = 0;
    for (std::size_t i = at; i < at + 8; ++i)
      differ |= __atomic_load_n(x + i, __ATOMIC_RELAXED) ^ __atomic_load_n(y + i, __ATOMIC_RELAXED);
    if (differ != 0) return false;
  }
  return true;
}

}  // namespace vmm::sharing
