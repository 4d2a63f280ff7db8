// Checksum of a page in a swap slot, and the test for a page of zeros.
// Thread-safety: pure. Fault threads may call them on the library's own buffers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmm::reclaim {

// XXH3 (64 bit, xxHash 0.8) of the kPageSize bytes, seeded with all the rest: bytes of another page, guest or
// generation do not pass. `secret` is random per host, so that no guest can compose bytes that collide.
std::uint64_t page_checksum(std::uint64_t secret, std::uint64_t guest, std::uint64_t page, std::uint16_t generation,
                            const std::byte* bytes) noexcept;

}  // namespace vmm::reclaim
