// FaultLatency: how long faults waited for their answers, by cause.
// Thread-safety: written by one fault thread, read by any.
#pragma once

#include "base/histogram.h"

namespace vmm::region {

struct FaultLatency {
  base::Histogram fill, pop, rescue, swap_in;
  base::Histogram stop;  // how long faults waited because the guest was stopped
};

// One of them.
using FaultCause = base::Histogram FaultLatency::*;

}  // namespace vmm::region
