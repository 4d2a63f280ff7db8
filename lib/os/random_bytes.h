// Random bits that nobody can guess.
// Thread-safety: any thread.
#pragma once

#include <cstdint>

namespace vmm::os {

// From getrandom(2); from the clock and addresses where a sandbox forbids it.
std::uint64_t random_u64() noexcept;

}  // namespace vmm::os
