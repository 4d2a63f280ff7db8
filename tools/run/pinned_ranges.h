// PinnedRanges: pages of the guest that are pinned for one purpose, of which any part may be let go. What was pinned at
// once stays pinned until all of it is let go: a part cannot be pinned anew while it is protected.
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "vmm/guest.h"
#include "vmm/result.h"

namespace vmm::run {

// Bytes from the guest's beginning, whole pages.
struct GuestRange {
  std::uint64_t first = 0, end = 0;
  std::uint64_t bytes() const noexcept { return end - first; }
};

class PinnedRanges {
 public:
  // Pins what of it is not yet. Errors: as of Guest::pin; on error nothing has changed. Throws std::bad_alloc.
  Result<void> add(Guest& guest, GuestRange range);
  // Throws std::bad_alloc; nothing has changed then.
  void remove(GuestRange range);
  bool any(GuestRange range) const noexcept;
  void clear() noexcept { pins_.clear(); }

 private:
  struct Pinned {
    std::uint64_t end;
    std::shared_ptr<Pin> pin;
  };
  using Pins = std::map<std::uint64_t, Pinned>;
  // The first that ends behind `offset`.
  Pins::const_iterator first_behind(std::uint64_t offset) const noexcept;

  Pins pins_;  // by their first byte; none overlaps another
};

}  // namespace vmm::run
