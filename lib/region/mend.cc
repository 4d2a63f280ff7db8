#include "region/mend.h"

#include <algorithm>
#include <array>

#include "region/guest_memory.h"

namespace vmm::region {

bool mend_huge_page(GuestMemory& guest, std::uint64_t first) noexcept {
  if (first + kPagesPerHuge > guest.pages()) return false;
  // Cheap looks first: most chunks are not whole.
  for (const auto page : {first, first + kPagesPerHuge - 1})
    if (guest.table.load(page).state() != PageState::resident) return false;
  std::array<std::uint8_t, kPagesPerHuge> bits;
  if (guest.pagemap().bits(guest.at(first), kPagesPerHuge, bits.data()) != 0) return false;
  const auto small = [](std::uint8_t b) { return (b & os::kPresent) != 0 && (b & (os::kHuge | os::kZero)) == 0; };
  if (!std::all_of(bits.begin(), bits.end(), small)) return false;
  for (auto page = first; page < first + kPagesPerHuge; ++page) {
    const auto word = guest.table.load(page);
    if (word.state() != PageState::resident || word.pinned() || word.writing() || word.locked()) return false;
  }
  const bool armed = std::any_of(bits.begin(), bits.end(), [](std::uint8_t b) { return (b & os::kWritten) == 0; });
  if (armed && guest.uffd().write_protect(guest.at(first), kHugePageSize, false) != 0) return false;
  return os::collapse_huge_page(guest.at(first)) == 0;
}

}  // namespace vmm::region
