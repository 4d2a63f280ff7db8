// Byte units and the page size that every size and offset of this library counts in.
#pragma once

#include <cstdint>

namespace vmm {

inline constexpr std::uint64_t KiB = 1024;        // 2^10 bytes
inline constexpr std::uint64_t MiB = 1024 * KiB;  // 2^20 bytes
inline constexpr std::uint64_t GiB = 1024 * MiB;  // 2^30 bytes

// Size of a page, in bytes. Offsets and lengths given to a Guest are multiples of it.
inline constexpr std::uint64_t kPageSize = 4 * KiB;
// Size and alignment of a huge page, in bytes. Guest memory begins on such a boundary.
inline constexpr std::uint64_t kHugePageSize = 2 * MiB;

}  // namespace vmm
