// GuestBalloon: a guest's balloon, and the pages that it may take.
// Thread-safety: as its parts.
#pragma once

#include "host/balloon.h"
#include "host/balloon_guest.h"

namespace vmm::host {

struct GuestBalloon {
  explicit GuestBalloon(region::GuestMemory& memory) noexcept : pages(memory) {}
  MemoryBalloonGuest pages;
  Balloon driver{pages};
};

}  // namespace vmm::host
