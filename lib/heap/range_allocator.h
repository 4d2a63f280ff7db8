// RangeAllocator: which pages of a guest are free, and what is known of them. It knows page numbers only: it never
// touches the guest's memory, and its tables are ordinary memory of the host.
//
//             allocate                        give                             settled
//   in use <------------- usable (free) -------------> handed over to the host -------> given
//      |        ^            ^  ^                              |                          |  |
//      +- release -----------+  +-------- take_over -----------+                          |  |
//      |        |               +-------- take_back (deflate) ----------------------------+  |
//      +--------+------------------------ allocate, when usable pages do not do -------------+
//
// Pages that were handed over are not allocated: the host may drop them at any moment, and what was written to them
// meanwhile with them. Given ones were dropped (or refused), so a touch simply brings them back.
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "heap/free_spans.h"
#include "heap/page_bitmap.h"
#include "heap/page_span.h"

namespace vmm::heap {

class RangeAllocator {
 public:
  // All of the pages are free and were never used. `base` is what alignment adds to a page number: the guest's address
  // in pages. Throws std::bad_alloc.
  RangeAllocator(std::uint64_t base, std::uint64_t pages);

  struct Allocation {
    PageSpan span;
    bool zero = false;  // never used before
  };
  // Pages from the smallest span that does, the lowest of equals; usable ones before given ones before both together.
  // `alignment` is in pages, a power of two. nullopt: none, or no memory for the tables.
  std::optional<Allocation> allocate(std::uint64_t count, std::uint64_t alignment) noexcept;
  // Just these, if they are all usable or given.
  std::optional<Allocation> allocate_at(PageSpan span) noexcept;
  // False: no memory for the tables; the pages stay in use.
  bool release(PageSpan span) noexcept;

  // Hands over up to `count` usable pages that were used since they were last given, those in the largest free spans
  // first: others cost no memory, so giving them would free none. Appends to `given`; returns how many.
  // Gives fewer where there is no memory for the tables.
  std::uint64_t give(std::uint64_t count, std::vector<PageSpan>& given) noexcept;
  // The host has dealt with all that was handed over.
  void settle() noexcept;
  // Given pages within `span` are usable again; others in it are left alone.
  void take_back(PageSpan span) noexcept;

  // Pages that were handed over and are wanted nevertheless: a span of `count` where there is one, else the largest.
  // They count as in use. release() them once the host can no longer drop them, else hand_over() them again.
  std::optional<PageSpan> take_over(std::uint64_t count) noexcept;
  bool hand_over(PageSpan span) noexcept;

  std::uint64_t pages() const noexcept { return pages_; }
  std::uint64_t usable() const noexcept { return usable_.pages(); }
  std::uint64_t given() const noexcept { return given_.pages() + handed_.pages(); }

 private:
  // Where a stretch of usable and given pages that begins at or after `page` ends.
  std::optional<PageSpan> stretch(std::uint64_t page) const noexcept;
  Allocation take(PageSpan span) noexcept;

  const std::uint64_t base_;
  const std::uint64_t pages_;
  SpanNodes nodes_;
  FreeSpans usable_{nodes_}, handed_{nodes_}, given_{nodes_};
  PageBitmap ever_used_;  // may hold bytes other than zero
  PageBitmap used_;       // since they were last given: likely to be in memory
  std::uint64_t frontier_ = 0;  // no page from here on was ever used
};

}  // namespace vmm::heap
