// The processors' clock rate.
// Thread-safety: any thread.
#pragma once

namespace vmm::os {

// GHz of one processor: the most that it can do, or what it does now where only that is told; 2 where nothing is.
double processor_ghz() noexcept;

}  // namespace vmm::os
