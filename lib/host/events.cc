// Names of events.
#include "vmm/event.h"

namespace vmm {

const char* to_string(EventKind kind) noexcept {
  switch (kind) {
    case EventKind::guest_created: return "guest_created";
    case EventKind::guest_destroyed: return "guest_destroyed";
    case EventKind::guest_managed: return "guest_managed";
    case EventKind::guest_native: return "guest_native";
    case EventKind::guest_rehomed: return "guest_rehomed";
    case EventKind::rehoming_failed: return "rehoming_failed";
    case EventKind::not_weighed: return "not_weighed";
    case EventKind::guest_migrated: return "guest_migrated";
    case EventKind::reclaimed: return "reclaimed";
    case EventKind::state_changed: return "state_changed";
    case EventKind::guest_stopped: return "guest_stopped";
    case EventKind::stop_ended: return "stop_ended";
    case EventKind::balloon_distrusted: return "balloon_distrusted";
    case EventKind::memory_exhausted: return "memory_exhausted";
    case EventKind::swap_write_failed: return "swap_write_failed";
    case EventKind::swap_read_failed: return "swap_read_failed";
    case EventKind::swap_recovered: return "swap_recovered";
    case EventKind::not_reclaimable: return "not_reclaimable";
    case EventKind::fault_stalled: return "fault_stalled";
    case EventKind::budget_withheld: return "budget_withheld";
    case EventKind::overcommit_advice: return "overcommit_advice";
    case EventKind::reservation_advice: return "reservation_advice";
    case EventKind::limit_advice: return "limit_advice";
  }
  return "unknown";
}

}  // namespace vmm
