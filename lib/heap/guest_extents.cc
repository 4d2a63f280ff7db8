#include "heap/guest_extents.h"

#include <algorithm>
#include <cstring>

#include "vmm/units.h"

namespace vmm::heap {
namespace {

// From here on dropping pages is cheaper than writing zeros to them, and holds no memory.
constexpr std::uint64_t kDiscardPages = 64;

}  // namespace

GuestExtents::GuestExtents(Guest& guest)
    : guest_(guest),
      start_(guest.memory().data()),
      pages_(guest.memory().size() / kPageSize),
      ranges_(reinterpret_cast<std::uintptr_t>(start_) / kPageSize, pages_) {
  table_.self = this;
  table_.hooks.alloc = [](extent_hooks_t* hooks, void* at, std::size_t bytes, std::size_t alignment, bool* zero,
                          bool* commit, unsigned) {
    *commit = true;
    return of(hooks).allocate(at, bytes, alignment, *zero);
  };
  table_.hooks.dalloc = [](extent_hooks_t* hooks, void* memory, std::size_t bytes, bool, unsigned) {
    return !of(hooks).release(memory, bytes);
  };
  // jemalloc calls it instead of dalloc for what it kept when an arena ends.
  table_.hooks.destroy = [](extent_hooks_t* hooks, void* memory, std::size_t bytes, bool, unsigned) {
    (void)of(hooks).release(memory, bytes);
  };
  // Pages are pages: any extent can be cut, and neighbours joined.
  table_.hooks.split = [](extent_hooks_t*, void*, std::size_t, std::size_t, std::size_t, bool, unsigned) {
    return false;
  };
  table_.hooks.merge = [](extent_hooks_t*, void*, std::size_t, void*, std::size_t, bool, unsigned) { return false; };
}

void* GuestExtents::allocate(void* at, std::size_t bytes, std::size_t alignment, bool& zero) noexcept {
  const std::uint64_t count = bytes / kPageSize;
  std::optional<RangeAllocator::Allocation> range;
  if (at == nullptr) {
    base::MutexLock lock(mutex_);
    range = ranges_.allocate(count, std::max<std::uint64_t>(alignment / kPageSize, 1));
  } else {
    // Whatever lies outside of the guest is a page number that is too large.
    const std::uint64_t offset = reinterpret_cast<std::uintptr_t>(at) - reinterpret_cast<std::uintptr_t>(start_);
    base::MutexLock lock(mutex_);
    range = ranges_.allocate_at({offset / kPageSize, count});
  }
  if (!range) return nullptr;
  if (zero && !range->zero) make_zero(range->span);
  zero = zero || range->zero;
  return start_ + range->span.first * kPageSize;
}

void GuestExtents::make_zero(PageSpan span) noexcept {
  if (span.count >= kDiscardPages && guest_.discard(span.first * kPageSize, span.count * kPageSize)) return;
  std::memset(start_ + span.first * kPageSize, 0, span.count * kPageSize);
}

bool GuestExtents::release(void* memory, std::size_t bytes) noexcept {
  const auto offset = static_cast<std::uint64_t>(static_cast<std::byte*>(memory) - start_);
  return release(PageSpan{offset / kPageSize, bytes / kPageSize});
}

bool GuestExtents::release(PageSpan span) noexcept {
  base::MutexLock lock(mutex_);
  return ranges_.release(span);
}

std::uint64_t GuestExtents::give(std::uint64_t pages, std::vector<PageSpan>& given) noexcept {
  base::MutexLock lock(mutex_);
  return ranges_.give(pages, given);
}

void GuestExtents::settle() noexcept {
  base::MutexLock lock(mutex_);
  ranges_.settle();
}

void GuestExtents::take_back(PageSpan span) noexcept {
  base::MutexLock lock(mutex_);
  ranges_.take_back(span);
}

std::optional<PageSpan> GuestExtents::take_over(std::uint64_t pages) noexcept {
  base::MutexLock lock(mutex_);
  return ranges_.take_over(pages);
}

bool GuestExtents::hand_over(PageSpan span) noexcept {
  base::MutexLock lock(mutex_);
  return ranges_.hand_over(span);
}

std::uint64_t GuestExtents::usable_pages() const noexcept {
  base::MutexLock lock(mutex_);
  return ranges_.usable();
}

std::uint64_t GuestExtents::given_pages() const noexcept {
  base::MutexLock lock(mutex_);
  return ranges_.given();
}

}  // namespace vmm::heap
