#include "heap/range_allocator.h"

#include <algorithm>
#include <new>

#include "base/check.h"

namespace vmm::heap {

RangeAllocator::RangeAllocator(std::uint64_t base, std::uint64_t pages)
    : base_(base), pages_(pages), ever_used_(pages), used_(pages) {
  if (!nodes_.reserve(1)) throw std::bad_alloc();
  usable_.add({0, pages});
}

std::optional<RangeAllocator::Allocation> RangeAllocator::allocate(std::uint64_t count,
                                                                   std::uint64_t alignment) noexcept {
  if (count == 0 || count > pages_ || !nodes_.reserve(2)) return std::nullopt;
  if (const auto fit = usable_.best_fit(count, alignment, base_)) return take(*fit);
  if (const auto fit = given_.best_fit(count, alignment, base_)) return take(*fit);
  if (usable_.pages() == 0 || given_.pages() == 0) return std::nullopt;
  for (auto span = stretch(0); span; span = stretch(span->end())) {
    const std::uint64_t lead = (alignment - (base_ + span->first) % alignment) % alignment;
    if (lead < span->count && count <= span->count - lead) return take({span->first + lead, count});
  }
  return std::nullopt;
}

std::optional<RangeAllocator::Allocation> RangeAllocator::allocate_at(PageSpan span) noexcept {
  if (span.count == 0 || span.first >= pages_ || span.count > pages_ - span.first) return std::nullopt;
  if (!nodes_.reserve(2)) return std::nullopt;
  for (std::uint64_t at = span.first; at < span.end();) {
    const auto usable = usable_.at_or_after(at);
    const auto given = given_.at_or_after(at);
    if (usable && usable->first <= at) {
      at = usable->end();
    } else if (given && given->first <= at) {
      at = given->end();
    } else {
      return std::nullopt;
    }
  }
  return take(span);
}

std::optional<PageSpan> RangeAllocator::stretch(std::uint64_t page) const noexcept {
  std::optional<PageSpan> result;
  for (std::uint64_t at = page;;) {
    const auto usable = usable_.at_or_after(at);
    const auto given = given_.at_or_after(at);
    if (!usable && !given) return result;
    const PageSpan next = !given || (usable && usable->first < given->first) ? *usable : *given;
    const std::uint64_t from = std::max(next.first, at);
    if (!result) {
      result = PageSpan{from, next.end() - from};
    } else if (from == result->end()) {
      result->count += next.end() - from;
    } else {
      return result;
    }
    at = result->end();
  }
}

// All of the span is usable or given; two spans are reserved. Only the first and the last piece can be cut, so no more
// than one insertion each is needed.
RangeAllocator::Allocation RangeAllocator::take(PageSpan span) noexcept {
  for (std::uint64_t at = span.first; at < span.end();) {
    const auto usable = usable_.at_or_after(at);
    FreeSpans& from = usable && usable->first <= at ? usable_ : given_;
    const PageSpan piece = *from.at_or_after(at);
    const std::uint64_t end = std::min(piece.end(), span.end());
    from.remove({at, end - at});
    at = end;
  }
  Allocation allocation{span, !ever_used_.any(span)};
  ever_used_.set(span);
  used_.set(span);
  frontier_ = std::max(frontier_, span.end());
  return allocation;
}

bool RangeAllocator::release(PageSpan span) noexcept {
  VMM_CHECK(span.first < pages_ && span.count <= pages_ - span.first);
  if (!nodes_.reserve(1)) return false;
  usable_.add(span);
  return true;
}

std::uint64_t RangeAllocator::give(std::uint64_t count, std::vector<PageSpan>& given) noexcept {
  const std::size_t before = given.size();
  std::uint64_t found = 0;
  try {
    usable_.from_largest([&](PageSpan span) {
      const std::uint64_t end = std::min(span.end(), frontier_);
      for (std::uint64_t at = used_.next_set(span.first, end); at < end && found < count;) {
        const std::uint64_t most = std::min(end, at + (count - found));
        const PageSpan run{at, used_.next_clear(at, most) - at};
        given.push_back(run);
        found += run.count;
        at = used_.next_set(run.end(), end);
      }
      return found < count;
    });
  } catch (const std::bad_alloc&) {
    // What was found is given.
  }
  std::uint64_t done = 0;
  std::size_t kept = before;
  for (; kept < given.size() && nodes_.reserve(2); ++kept) {
    usable_.remove(given[kept]);
    handed_.add(given[kept]);
    used_.clear(given[kept]);
    done += given[kept].count;
  }
  given.resize(kept);
  return done;
}

void RangeAllocator::settle() noexcept {
  while (const auto span = handed_.largest()) {
    if (!nodes_.reserve(2)) return;  // the rest at the next time
    handed_.remove(*span);
    given_.add(*span);
  }
}

void RangeAllocator::take_back(PageSpan span) noexcept {
  for (std::uint64_t at = span.first; nodes_.reserve(2);) {
    const auto next = given_.at_or_after(at);
    if (!next || next->first >= span.end()) return;
    const std::uint64_t from = std::max(next->first, at);
    const PageSpan part{from, std::min(next->end(), span.end()) - from};
    given_.remove(part);
    usable_.add(part);
    at = part.end();
    if (at >= span.end()) return;
  }
}

std::optional<PageSpan> RangeAllocator::take_over(std::uint64_t count) noexcept {
  if (!nodes_.reserve(1)) return std::nullopt;
  auto span = handed_.best_fit(count, 1, 0);
  if (!span) span = handed_.largest();
  if (span) {
    handed_.remove(*span);
    used_.set(*span);
  }
  return span;
}

bool RangeAllocator::hand_over(PageSpan span) noexcept {
  if (!nodes_.reserve(1)) return false;
  handed_.add(span);
  used_.clear(span);
  return true;
}

}  // namespace vmm::heap
