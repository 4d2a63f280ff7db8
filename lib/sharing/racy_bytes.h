// Bytes of a guest that its threads may be writing to meanwhile: what is read of them holds for no moment, or for one
// that somebody else makes sure of. Under the thread sanitizer word by word, and invisible to it, who would take that
// for a mistake.
// Thread-safety: stateless.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/zero_page.h"
#include "vmm/units.h"

namespace vmm::sharing {

inline constexpr std::size_t kPageWords = kPageSize / sizeof(std::uint64_t);

#if defined(__SANITIZE_THREAD__)

__attribute__((no_sanitize("thread"))) inline void copy_racy(std::byte* to, const std::byte* from,
                                                             std::uint64_t pages) noexcept {
  auto* const words = reinterpret_cast<std::uint64_t*>(to);
  const auto* const source = reinterpret_cast<const std::uint64_t*>(from);
  for (std::uint64_t i = 0; i < pages * kPageWords; ++i) words[i] = __atomic_load_n(source + i, __ATOMIC_RELAXED);
}

__attribute__((no_sanitize("thread"))) inline bool equal_racy(const std::byte* a, const std::byte* b) noexcept {
  const auto* const x = reinterpret_cast<const std::uint64_t*>(a);
  const auto* const y = reinterpret_cast<const std::uint64_t*>(b);
  for (std::size_t i = 0; i < kPageWords; ++i)
    if (__atomic_load_n(x + i, __ATOMIC_RELAXED) != __atomic_load_n(y + i, __ATOMIC_RELAXED)) return false;
  return true;
}

__attribute__((no_sanitize("thread"))) inline bool is_zero_racy(const std::byte* page) noexcept {
  const auto* const words = reinterpret_cast<const std::uint64_t*>(page);
  for (std::size_t i = 0; i < kPageWords; ++i)
    if (__atomic_load_n(words + i, __ATOMIC_RELAXED) != 0) return false;
  return true;
}

#else

inline void copy_racy(std::byte* to, const std::byte* from, std::uint64_t pages) noexcept {
  std::memcpy(to, from, pages * kPageSize);
}

// Of one page.
inline bool equal_racy(const std::byte* a, const std::byte* b) noexcept { return std::memcmp(a, b, kPageSize) == 0; }
inline bool is_zero_racy(const std::byte* page) noexcept { return base::is_zero_page(page); }

#endif

}  // namespace vmm::sharing
