// Page faults: how often threads had to ask the kernel for a page, or for the right to write to one (getrusage(2)).
// Thread-safety: every function may be called from any thread.
#pragma once

#include <cstdint>

namespace vmm::os {

// Of all threads of this process, those that have ended among them.
std::uint64_t process_faults() noexcept;
// Of the calling thread.
std::uint64_t thread_faults() noexcept;

}  // namespace vmm::os
