// What a page of the stress test holds: words that follow from {guest, page, version, kind}, so that the right
// contents can be made again at any time and a wrong page tells where it came from.
//
//   word 0        identity: guest and page; 0 in a page of zeros, or of what is common
//   word 1        version << 8 | kind
//   word 2        checksum over the words of the body
//   words 3-503   body; at most one of them is patched (a later write of a single word)
//   words 504-511 one counter for each thread, added to without the page's exclusive lock
//
// Words of guest memory are read and written atomically: threads race on them on purpose.
// Thread-safety: functions of their arguments, and access to single words.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "vmm/units.h"

namespace vmm::stress {

inline constexpr std::size_t kPageWords = kPageSize / 8;
inline constexpr std::size_t kIdentity = 0, kVersion = 1, kChecksum = 2, kBody = 3;
inline constexpr std::size_t kMostThreads = 8;
inline constexpr std::size_t kCounters = kPageWords - kMostThreads;

// Different ones that are common.
inline constexpr std::uint64_t kCommonPages = 16;

using PageImage = std::array<std::uint64_t, kPageWords>;

enum class Kind : std::uint8_t {
  zero,          // nothing but zeros, and as such dropped instead of written out
  random,        // incompressible
  compressible,  // few different values
  sparse,        // a header, and zeros
  common,        // what pages of other numbers and guests hold, too
};
inline constexpr unsigned kKinds = 5;
inline const char* to_string(Kind kind) noexcept {
  constexpr const char* names[] = {"zero", "random", "compressible", "sparse", "common"};
  return static_cast<unsigned>(kind) < kKinds ? names[static_cast<unsigned>(kind)] : "?";
}

// What a page should hold, but for its counters. Packs into one word of the shadow.
struct Content {
  std::uint32_t version = 0;
  std::uint32_t patch = 0;  // 24 bits; 0 = no word is patched
  Kind kind = Kind::zero;

  std::uint64_t packed() const noexcept {
    return static_cast<std::uint64_t>(version) << 32 | static_cast<std::uint64_t>(patch & 0xffffff) << 8 |
           static_cast<std::uint64_t>(kind);
  }
  static Content unpack(std::uint64_t raw) noexcept {
    return {static_cast<std::uint32_t>(raw >> 32), static_cast<std::uint32_t>(raw >> 8 & 0xffffff),
            static_cast<Kind>(raw & 0xff)};
  }
};

inline std::uint64_t mix(std::uint64_t z) noexcept {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

// Guest in the upper half and page + 1 in the lower: readable in a dump, and never 0.
inline std::uint64_t identity_of(std::uint64_t guest, std::uint64_t page) noexcept { return guest << 32 | (page + 1); }

inline std::uint64_t checksum_of(const PageImage& words) noexcept {
  std::uint64_t sum = 0x9e3779b97f4a7c15ULL;
  for (std::size_t i = kBody; i < kCounters; ++i) sum = (sum ^ words[i]) * 0x100000001b3ULL;
  return sum;
}

// Which word a patch changes, and to what.
inline std::size_t patched_word(Content c) noexcept { return kBody + mix(c.patch) % (kCounters - kBody); }
inline std::uint64_t patch_value(std::uint64_t identity, Content c) noexcept {
  return mix(identity ^ static_cast<std::uint64_t>(c.version) << 24 ^ c.patch) | 1;
}

// The page as it should be, its counters 0.
inline void make_page(std::uint64_t guest, std::uint64_t page, Content c, PageImage& words) noexcept {
  words.fill(0);
  const auto identity = identity_of(guest, page);
  const auto seed = mix(identity) ^ static_cast<std::uint64_t>(c.version) * 0x9e3779b97f4a7c15ULL;
  for (std::size_t i = kBody; i < kCounters; ++i) {
    if (c.kind == Kind::random) words[i] = mix(seed + i);
    if (c.kind == Kind::compressible) words[i] = seed & 0xff00ff00ff;
    if (c.kind == Kind::common) words[i] = mix(page % kCommonPages << 16 | i);
  }
  if (c.patch != 0) words[patched_word(c)] = patch_value(identity, c);
  if (c.kind == Kind::zero) return;  // a patch is then all there is
  if (c.kind == Kind::common) {
    words[kVersion] = static_cast<std::uint64_t>(c.kind);
    words[kChecksum] = checksum_of(words);
    return;
  }
  words[kIdentity] = identity;
  words[kVersion] = static_cast<std::uint64_t>(c.version) << 8 | static_cast<std::uint64_t>(c.kind);
  words[kChecksum] = checksum_of(words);
}

// Loads and stores order as a sequence lock needs it. ThreadSanitizer would keep a record for each word so used;
// there they are relaxed, which is as good: its own calls keep the compiler from moving them, and the processors
// it runs on here (x86) do not.
#if defined(__SANITIZE_THREAD__)
inline constexpr auto kLoadOrder = std::memory_order_relaxed, kStoreOrder = std::memory_order_relaxed;
#else
inline constexpr auto kLoadOrder = std::memory_order_acquire, kStoreOrder = std::memory_order_release;
#endif

inline std::atomic_ref<std::uint64_t> word_at(std::byte* page, std::size_t index) noexcept {
  return std::atomic_ref<std::uint64_t>(reinterpret_cast<std::uint64_t*>(page)[index]);
}
inline void read_page(std::byte* page, PageImage& words) noexcept {
  for (std::size_t i = 0; i < kPageWords; ++i) words[i] = word_at(page, i).load(kLoadOrder);
}
inline void write_page(std::byte* page, const PageImage& words) noexcept {
  for (std::size_t i = 0; i < kPageWords; ++i) word_at(page, i).store(words[i], kStoreOrder);
}

}  // namespace vmm::stress
