// Looks into a guest from outside the public interface, for reports and for the checks at the end of a run.
// Thread-safety: as of what is looked at; the guest's host must live.
#pragma once

#include <memory>

#include "host/guest_core.h"
#include "host/host_core.h"
#include "vmm/guest.h"

namespace vmm::stress {

// Guest::core_ is private. An explicit instantiation may name private members, and so hands it out.
std::shared_ptr<GuestCore> core_of(const Guest& guest);

template <std::shared_ptr<GuestCore> Guest::*Core>
struct PrivateCore {
  friend std::shared_ptr<GuestCore> core_of(const Guest& guest) { return guest.*Core; }
};
template struct PrivateCore<&Guest::core_>;

inline region::GuestMemory& memory_of(const Guest& guest) { return core_of(guest)->memory(); }

}  // namespace vmm::stress
