// GuestExtents: a guest's pages as the extents of a jemalloc arena: the hooks that jemalloc calls, over a
// RangeAllocator and its lock.
// Thread-safety: any thread. Hooks run under jemalloc's locks; they take the lock of the ranges and no other, and wait
// for nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "heap/jemalloc.h"
#include "heap/range_allocator.h"
#include "vmm/guest.h"

namespace vmm::heap {

class GuestExtents {
 public:
  // All of the guest's memory, which reads as zero. The guest outlives every use but release. Throws std::bad_alloc.
  explicit GuestExtents(Guest& guest);
  GuestExtents(const GuestExtents&) = delete;
  GuestExtents& operator=(const GuestExtents&) = delete;

  extent_hooks_t* hooks() noexcept { return &table_.hooks; }

  // As jemalloc's hook `alloc`: nullptr where there is no such range. Sizes in bytes, multiples of a page.
  void* allocate(void* at, std::size_t bytes, std::size_t alignment, bool& zero) noexcept;
  // False: not taken back, jemalloc keeps it.
  bool release(void* memory, std::size_t bytes) noexcept;

  // As of RangeAllocator, under its lock.
  std::uint64_t give(std::uint64_t pages, std::vector<PageSpan>& given) noexcept;
  void settle() noexcept;
  void take_back(PageSpan span) noexcept;
  std::optional<PageSpan> take_over(std::uint64_t pages) noexcept;
  bool hand_over(PageSpan span) noexcept;
  bool release(PageSpan span) noexcept;

  std::uint64_t pages() const noexcept { return pages_; }
  std::uint64_t usable_pages() const noexcept;
  std::uint64_t given_pages() const noexcept;

 private:
  // jemalloc hands the table back to each hook: that is how they find this object.
  struct Table {
    extent_hooks_t hooks;
    GuestExtents* self;
  };
  static GuestExtents& of(extent_hooks_t* hooks) noexcept { return *reinterpret_cast<Table*>(hooks)->self; }
  void make_zero(PageSpan span) noexcept;

  Table table_{};
  Guest& guest_;
  std::byte* const start_;
  const std::uint64_t pages_;
  mutable base::Mutex mutex_{base::LockRank::leaf};
  RangeAllocator ranges_ VMM_GUARDED_BY(mutex_);
};

}  // namespace vmm::heap
