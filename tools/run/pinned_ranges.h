// PinnedRanges: pages of the guest that are pinned for one purpose, of which any part may be let go.
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <map>
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
  // Errors: as add(), for what is left of a range that is cut; on error nothing has changed.
  Result<void> remove(Guest& guest, GuestRange range);
  bool any(GuestRange range) const noexcept;
  void clear() noexcept { pins_.clear(); }

 private:
  struct Pinned {
    std::uint64_t end;
    Pin pin;
  };
  using Pins = std::map<std::uint64_t, Pinned>;
  // The first that ends behind `offset`.
  Pins::const_iterator first_behind(std::uint64_t offset) const noexcept;

  Pins pins_;  // by their first byte; none overlaps another
};

}  // namespace vmm::run
