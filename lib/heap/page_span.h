// PageSpan: neighbouring pages of a guest, by number.
// Thread-safety: plain value.
#pragma once

#include <cstdint>

namespace vmm::heap {

struct PageSpan {
  std::uint64_t first = 0;
  std::uint64_t count = 0;

  constexpr std::uint64_t end() const noexcept { return first + count; }
  bool operator==(const PageSpan&) const = default;
};

}  // namespace vmm::heap
