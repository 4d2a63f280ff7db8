// smaps: how much memory is resident, as the kernel counts it.
// Thread-safety: any thread.
#pragma once

#include <cstdint>

namespace smaps {

// Bytes of anonymous memory that this process has resident, from /proc/self/smaps; 0 if that cannot be read. All guests
// together, the library's buffers, and what the program has for itself.
std::uint64_t anonymous();

}  // namespace smaps
