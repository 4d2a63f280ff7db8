// above(): by how much one count exceeds another.
// Thread-safety: pure.
#pragma once

#include <cstdint>

namespace vmm::base {

// a - b, or 0 where b is more.
constexpr std::uint64_t above(std::uint64_t a, std::uint64_t b) noexcept { return a > b ? a - b : 0; }

}  // namespace vmm::base
