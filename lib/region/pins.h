// Pins: the pinned ranges of one guest, and the mark in the page words that keeps workers away from them.
// Thread-safety: every function may be called from any thread but a fault thread.
#pragma once

#include <cstdint>
#include <vector>

#include "base/mutex.h"
#include "region/guest_memory.h"
#include "vmm/result.h"

namespace vmm::region {

class Pins {
 public:
  explicit Pins(GuestMemory& guest) noexcept : guest_(guest) {}

  // Marks the range, then makes it resident. `most` = pages the guest may have pinned in all.
  // Errors: Errc::pin_limit, Errc::page_lost; nothing is pinned then.
  Result<void> pin(std::uint64_t first, std::uint64_t pages, std::uint64_t most) VMM_EXCLUDES(mutex_);
  void unpin(std::uint64_t first, std::uint64_t pages) noexcept VMM_EXCLUDES(mutex_);

  // Held by a discard, so that no page is pinned between its check and its end.
  base::Mutex& mutex() noexcept VMM_TSA(lock_returned(mutex_)) { return mutex_; }
  // Whether a pin covers a page of the range.
  bool any_locked(std::uint64_t first, std::uint64_t pages) const noexcept VMM_REQUIRES(mutex_);

 private:
  struct Range {
    std::uint64_t first, pages;
  };
  GuestMemory& guest_;
  base::Mutex mutex_{base::LockRank::pins};
  std::vector<Range> ranges_ VMM_GUARDED_BY(mutex_);
};

}  // namespace vmm::region
