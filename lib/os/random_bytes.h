// Random bits that nobody can guess.
// Thread-safety: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "vmm/result.h"

namespace vmm::os {

// From getrandom(2); from the clock and addresses where a sandbox forbids it.
std::uint64_t random_u64() noexcept;

// Fills the buffer, or fails: for secrets. Errors: EPERM, ENOSYS (a sandbox forbids getrandom), EIO.
Result<void> random_bytes(std::span<std::byte> buffer);

}  // namespace vmm::os
