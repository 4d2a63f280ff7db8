// smaps: how much memory is resident, as the kernel counts it.
// Thread-safety: any thread.
#pragma once

#include <cstdint>

namespace smaps {

// Bytes of anonymous memory that this process has resident, from /proc/self/smaps; 0 if that cannot be read. All guests
// together, the library's buffers, and what the program has for itself.
std::uint64_t anonymous();

// Of all mappings of this process, from /proc/self/smaps_rollup; bytes, 0 if that cannot be read.
struct Rollup {
  std::uint64_t resident = 0;      // a page counts as often as it is mapped
  std::uint64_t proportional = 0;  // a page that is mapped n times counts an nth each time
};
Rollup rollup();

}  // namespace smaps
