// Pages of zeros.
// Thread-safety: pure function of its arguments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "vmm/units.h"

namespace vmm::base {

// kPageSize bytes at `bytes`, aligned to 8. Ends at the first part that is not zero.
inline bool is_zero_page(const std::byte* bytes) noexcept {
  // If the first word is zero and each byte equals the one a word before it, all are zero.
  std::uint64_t first = 0;
  std::memcpy(&first, bytes, sizeof first);
  return first == 0 && std::memcmp(bytes, bytes + sizeof first, kPageSize - sizeof first) == 0;
}

}  // namespace vmm::base
