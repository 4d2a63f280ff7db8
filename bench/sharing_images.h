// What guests hold whose pages are shared: made of page numbers, or the memory of real guests.
// Thread-safety: pure functions, except real_guests().
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "vmm/units.h"

namespace vmm::bench {

// Whole pages.
using Image = std::vector<std::byte>;
// Of each guest.
using Images = std::vector<Image>;

// Pairs of 64 MiB each.
// Runs of `length` pages that both hold, in another order in the second.
Images runs_of(std::uint64_t length);
// Equal but for where they begin.
Images clones();
// Nine of ten pages are of zeros, the others are like no other.
Images mostly_zero();
Images nothing_equal();

// There are none, for that reason.
struct NoImages : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Of two machines that tests/vm/images.sh has booted, or boots now (a minute). What they have not touched is left out.
// Throws NoImages where that cannot be done, std::runtime_error where it goes wrong.
Images real_guests();

}  // namespace vmm::bench
