#include "host/resident_count.h"

#include <algorithm>
#include <array>

namespace vmm::host {
namespace {

constexpr std::uint64_t kSlice = 4096;  // pages a scan: 16 MiB

}  // namespace

std::uint64_t resident_count(const region::GuestMemory& guest) noexcept {
  std::array<std::uint8_t, kSlice> bits;
  std::uint64_t pages = 0;
  for (std::uint64_t first = 0; first < guest.pages(); first += kSlice) {
    const auto slice = std::min(kSlice, guest.pages() - first);
    if (guest.pagemap().bits(guest.at(first), slice, bits.data()) != 0) return guest.pages();
    pages += static_cast<std::uint64_t>(std::count_if(bits.begin(), bits.begin() + static_cast<std::ptrdiff_t>(slice),
                                                      [](auto b) { return b != 0 && (b & os::kZero) == 0; }));
  }
  return pages;
}

}  // namespace vmm::host
