// The inside of the guest, which fork.cc and those who help it look into: page words, staging, slots.
// Thread-safety: as of each part.
#pragma once

#include "host/guest_core.h"
#include "program_memory.h"
#include "region/guest_memory.h"

namespace vmm::run {

// The guest never ends before the process, so no gate need be entered.
region::GuestMemory& guest_inside() noexcept;
GuestCore& guest_core() noexcept;

}  // namespace vmm::run
