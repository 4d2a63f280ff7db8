// PageBitmap: one bit a page, with searches that skip 64 pages at a time.
// Thread-safety: one thread at a time.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "heap/page_span.h"

namespace vmm::heap {

class PageBitmap {
 public:
  // Throws std::bad_alloc.
  explicit PageBitmap(std::uint64_t pages) : pages_(pages), words_(static_cast<std::size_t>((pages + 63) / 64)) {}

  void set(PageSpan span) noexcept { change(span, true); }
  void clear(PageSpan span) noexcept { change(span, false); }
  bool any(PageSpan span) const noexcept { return next_set(span.first, span.end()) < span.end(); }

  // The first page at or after `from` and below `to` whose bit is set (clear); `to` if there is none.
  std::uint64_t next_set(std::uint64_t from, std::uint64_t to) const noexcept { return next(from, to, 0); }
  std::uint64_t next_clear(std::uint64_t from, std::uint64_t to) const noexcept { return next(from, to, ~0ULL); }

 private:
  static constexpr std::uint64_t mask(std::uint64_t from, std::uint64_t to) noexcept {  // bits [from, to) of a word
    return (~0ULL << from) & (to == 64 ? ~0ULL : (1ULL << to) - 1);
  }
  void change(PageSpan span, bool on) noexcept {
    for (std::uint64_t at = span.first; at < span.end();) {
      const std::uint64_t base = at / 64 * 64;
      const std::uint64_t bits = mask(at - base, std::min<std::uint64_t>(span.end() - base, 64));
      auto& word = words_[static_cast<std::size_t>(at / 64)];
      word = on ? word | bits : word & ~bits;
      at = base + 64;
    }
  }
  std::uint64_t next(std::uint64_t from, std::uint64_t to, std::uint64_t invert) const noexcept {
    to = std::min(to, pages_);
    for (std::uint64_t at = from; at < to;) {
      const std::uint64_t base = at / 64 * 64;
      const std::uint64_t bits = (words_[static_cast<std::size_t>(at / 64)] ^ invert) & mask(at - base, 64);
      if (bits != 0) return std::min(to, base + static_cast<unsigned>(std::countr_zero(bits)));
      at = base + 64;
    }
    return to;
  }

  std::uint64_t pages_;
  std::vector<std::uint64_t> words_;
};

}  // namespace vmm::heap
