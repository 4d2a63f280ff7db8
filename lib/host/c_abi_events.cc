// The C interface: events.
#include "host/c_abi.h"
#include "vmm/event.h"
#include "vmm/metrics.h"

namespace c = vmm::host::c;

namespace {

// The kinds have the same numbers in both interfaces, in the order of the header.
using c::same;
using vmm::EventKind;
static_assert(same(EventKind::guest_created, VMM_EVENT_GUEST_CREATED) &&
              same(EventKind::guest_destroyed, VMM_EVENT_GUEST_DESTROYED) &&
              same(EventKind::guest_managed, VMM_EVENT_GUEST_MANAGED) &&
              same(EventKind::guest_native, VMM_EVENT_GUEST_NATIVE) &&
              same(EventKind::guest_rehomed, VMM_EVENT_GUEST_REHOMED) &&
              same(EventKind::rehoming_failed, VMM_EVENT_REHOMING_FAILED) &&
              same(EventKind::guest_migrated, VMM_EVENT_GUEST_MIGRATED) &&
              same(EventKind::not_weighed, VMM_EVENT_NOT_WEIGHED) && same(EventKind::reclaimed, VMM_EVENT_RECLAIMED) &&
              same(EventKind::state_changed, VMM_EVENT_STATE_CHANGED) &&
              same(EventKind::guest_stopped, VMM_EVENT_GUEST_STOPPED) &&
              same(EventKind::stop_ended, VMM_EVENT_STOP_ENDED) &&
              same(EventKind::balloon_distrusted, VMM_EVENT_BALLOON_DISTRUSTED) &&
              same(EventKind::memory_exhausted, VMM_EVENT_MEMORY_EXHAUSTED) &&
              same(EventKind::swap_write_failed, VMM_EVENT_SWAP_WRITE_FAILED) &&
              same(EventKind::swap_read_failed, VMM_EVENT_SWAP_READ_FAILED) &&
              same(EventKind::swap_recovered, VMM_EVENT_SWAP_RECOVERED) &&
              same(EventKind::not_reclaimable, VMM_EVENT_NOT_RECLAIMABLE) &&
              same(EventKind::fault_stalled, VMM_EVENT_FAULT_STALLED) &&
              same(EventKind::budget_withheld, VMM_EVENT_BUDGET_WITHHELD) &&
              same(EventKind::overcommit_advice, VMM_EVENT_OVERCOMMIT_ADVICE) &&
              same(EventKind::reservation_advice, VMM_EVENT_RESERVATION_ADVICE) &&
              same(EventKind::limit_advice, VMM_EVENT_LIMIT_ADVICE));

vmm_event event_of(const vmm::Event& event, std::uint64_t sequence) noexcept {
  vmm_event out{};
  out.size = sizeof(out);
  out.sequence = sequence;
  out.time_ns = event.time.count();
  out.guest = event.guest.c_str();
  out.bytes = event.bytes;
  out.mechanism = event.mechanism.c_str();
  out.reason = event.reason.c_str();
  out.kind = static_cast<int>(event.kind);
  return out;
}

}  // namespace

const char* vmm_event_kind_name(int kind) noexcept { return vmm::to_string(static_cast<EventKind>(kind)); }

int vmm_host_on_event(vmm_host* host, vmm_event_callback callback, void* context) noexcept {
  if (host == nullptr) return c::no_handle("vmm_host_on_event");
  return c::guarded("vmm_host_on_event", [&] {
    if (callback == nullptr) return c::done(host->value.on_event({}));
    return c::done(host->value.on_event([callback, context](const vmm::Event& event) {
      const auto told = event_of(event, 0);
      callback(&told, context);
    }));
  });
}

int vmm_host_read_events(const vmm_host* host, uint64_t since, vmm_event_callback callback, void* context,
                         uint64_t* next, uint64_t* lost) noexcept {
  if (host == nullptr) return c::no_handle("vmm_host_read_events");
  if (callback == nullptr) return c::no_pointer("vmm_host_read_events", "callback");
  return c::guarded("vmm_host_read_events", [&] {
    const auto ledger = host->value.events(since);
    if (!ledger) return c::fail(ledger.error());
    for (const auto& record : ledger->records) {
      const auto told = event_of(record.event, record.sequence);
      callback(&told, context);
    }
    if (next != nullptr) *next = ledger->next;
    if (lost != nullptr) *lost = ledger->lost;
    return 0;
  });
}

int vmm_host_events_json(const vmm_host* host, uint64_t since, char** text) noexcept {
  if (host == nullptr) return c::no_handle("vmm_host_events_json");
  if (text == nullptr) return c::no_pointer("vmm_host_events_json", "text");
  return c::guarded("vmm_host_events_json", [&] {
    const auto ledger = host->value.events(since);
    return ledger ? c::copy_text("vmm_host_events_json", vmm::to_json(*ledger), text) : c::fail(ledger.error());
  });
}
