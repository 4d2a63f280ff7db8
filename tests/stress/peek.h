// Looks into a guest from outside the public interface, for reports and for the checks at the end of a run.
// Thread-safety: as of what is looked at; the guest's host must live.
#pragma once

#include <memory>
#include <utility>

#include "host/guest_core.h"
#include "host/host_core.h"
#include "vmm/guest.h"
#include "vmm/host.h"

namespace vmm::stress {

// Guest::core_ is private. An explicit instantiation may name private members, and so hands it out.
std::shared_ptr<GuestCore> core_of(const Guest& guest);

template <std::shared_ptr<GuestCore> Guest::*Core>
struct PrivateCore {
  friend std::shared_ptr<GuestCore> core_of(const Guest& guest) { return guest.*Core; }
};
template struct PrivateCore<&Guest::core_>;

// The same of a host, which can be made of a core that a test has built.
std::shared_ptr<HostCore>& core_of(Host& host);

template <std::shared_ptr<HostCore> Host::*Core>
struct PrivateHostCore {
  friend std::shared_ptr<HostCore>& core_of(Host& host) { return host.*Core; }
};
template struct PrivateHostCore<&Host::core_>;

inline Host host_of(std::shared_ptr<HostCore> core) {
  Host host;
  core_of(host) = std::move(core);
  return host;
}

inline region::GuestMemory& memory_of(const Guest& guest) { return core_of(guest)->memory(); }

}  // namespace vmm::stress
