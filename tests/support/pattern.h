// What a page of a test holds: words that follow from {guest, page, version}, with a checksum, so that a wrong page
// tells where it came from.
// Thread-safety: functions of their arguments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "vmm/units.h"

namespace vmm::test {

inline constexpr std::size_t kPageWords = kPageSize / 8;
inline constexpr std::size_t kHeaderWords = 4;  // guest, page, version, checksum

inline std::uint64_t scramble(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

inline std::uint64_t word_of(std::uint64_t guest, std::uint64_t page, std::uint64_t version,
                             std::size_t index) noexcept {
  return scramble(guest << 48 ^ page << 20 ^ version << 10 ^ index) | 1;
}

inline void fill_page(std::byte* at, std::uint64_t guest, std::uint64_t page, std::uint64_t version) noexcept {
  auto* words = reinterpret_cast<std::uint64_t*>(at);
  std::uint64_t sum = 0;
  for (std::size_t i = kHeaderWords; i < kPageWords; ++i) sum ^= words[i] = word_of(guest, page, version, i);
  words[0] = guest;
  words[1] = page;
  words[2] = version;
  words[3] = sum;
}

inline bool is_zero(const std::byte* at) noexcept {
  for (std::size_t i = 0; i < kPageSize; ++i)
    if (at[i] != std::byte{0}) return false;
  return true;
}

// What is wrong with the page; empty: nothing. The page is copied first, so that it is judged as it was at one time.
inline std::string wrong_page(const std::byte* at, std::uint64_t guest, std::uint64_t page, std::uint64_t version) {
  std::uint64_t words[kPageWords];
  std::memcpy(words, at, sizeof words);
  std::uint64_t sum = 0;
  for (std::size_t i = kHeaderWords; i < kPageWords; ++i) sum ^= words[i];
  const bool right = words[0] == guest && words[1] == page && words[2] == version && words[3] == sum &&
                     words[kHeaderWords] == word_of(guest, page, version, kHeaderWords) &&
                     words[kPageWords - 1] == word_of(guest, page, version, kPageWords - 1);
  if (right) return {};
  const auto text = [](std::uint64_t g, std::uint64_t p, std::uint64_t v) {
    return "{guest " + std::to_string(g) + ", page " + std::to_string(p) + ", version " + std::to_string(v) + "}";
  };
  if (is_zero(reinterpret_cast<const std::byte*>(words))) return "zeros instead of " + text(guest, page, version);
  return text(words[0], words[1], words[2]) + (sum == words[3] ? "" : " with a wrong checksum") + " instead of " +
         text(guest, page, version);
}

}  // namespace vmm::test
