// The C interface: figures.
#include "host/c_abi.h"
#include "vmm/metrics.h"
#include "vmm/stats.h"

namespace c = vmm::host::c;

namespace {

using c::same;
using vmm::MemoryState;
static_assert(same(MemoryState::high, VMM_STATE_HIGH) && same(MemoryState::clear, VMM_STATE_CLEAR) &&
              same(MemoryState::soft, VMM_STATE_SOFT) && same(MemoryState::hard, VMM_STATE_HARD) &&
              same(MemoryState::low, VMM_STATE_LOW));

vmm_latency latency_of(const vmm::LatencySummary& s) noexcept {
  return {s.count, s.sum_ns, s.p50_ns, s.p99_ns, s.max_ns};
}

vmm_guest_stats figures_of(const vmm::GuestStats& s) noexcept {
  vmm_guest_stats out{};
  out.size = sizeof(out);
  out.memory = s.memory;
  out.reservation = s.reservation;
  out.limit = s.limit;
  out.shares = s.shares;
  out.resident = s.resident;
  out.granted = s.granted;
  out.staging = s.staging;
  out.swapped = s.swapped;
  out.swap_target = s.swap_target;
  out.lost = s.lost;
  out.ballooned = s.ballooned;
  out.balloon_target = s.balloon_target;
  out.balloon_max = s.balloon_max;
  out.target = s.target;
  out.overhead = s.overhead;
  out.active = s.active;
  out.pinned = s.pinned;
  out.shared = s.shared;
  out.shared_zero = s.shared_zero;
  out.shared_common = s.shared_common;
  out.shared_saved = s.shared_saved;
  out.swap_file = s.swap_file;
  out.swapped_out = s.swapped_out;
  out.swap_written = s.swap_written;
  out.swapped_in = s.swapped_in;
  out.ballooned_out = s.ballooned_out;
  out.balloon_popped = s.balloon_popped;
  out.balloon_refused = s.balloon_refused;
  out.faults = s.faults;
  out.fills = s.fills;
  out.balloon_pops = s.balloon_pops;
  out.rescues = s.rescues;
  out.swap_ins = s.swap_ins;
  out.swap_errors = s.swap_errors;
  out.stalls = s.stalls;
  out.busy_pages = s.busy_pages;
  out.stops = s.stops;
  out.stopped_ns = s.stopped_ns;
  out.local = s.local;
  out.remote = s.remote;
  out.migrations = s.migrations;
  out.migrated = s.migrated;
  out.attached_cpu_ns = s.attached_cpu_ns;
  out.fault_latency = latency_of(s.fault_latency);
  out.swap_in_latency = latency_of(s.swap_in_latency);
  out.home_node = s.home_node;
  out.attached_threads = s.attached_threads;
  out.managed = s.managed;
  out.stopped = s.stopped;
  out.balloon_distrusted = s.balloon_distrusted;
  out.swap_failed = s.swap_failed;
  out.id = s.id;
  return out;
}

vmm_host_stats figures_of(const vmm::HostStats& s, vmm::CapabilityLevel level) noexcept {
  vmm_host_stats out{};
  out.size = sizeof(out);
  out.time_ns = s.time_ns;
  out.wall_time_ms = s.wall_time_ms;
  out.memory = s.memory;
  out.consumed = s.consumed;
  out.free = s.free;
  out.overhead = s.overhead;
  out.reserved = s.reserved;
  out.swapped = s.swapped;
  out.ballooned = s.ballooned;
  out.shared = s.shared;
  out.shared_zero = s.shared_zero;
  out.shared_common = s.shared_common;
  out.shared_saved = s.shared_saved;
  out.share_frames = s.share_frames;
  out.min_free = s.min_free;
  out.guests = s.guests.size();
  out.pools = s.pools.size();
  out.nodes = s.nodes.size();
  out.state = static_cast<int>(s.state);
  out.capability_level = static_cast<int>(level);
  out.withheld = s.withheld;
  return out;
}

int stats_text(const char* function, const vmm_host* host, char** text,
               std::string (*write)(const vmm::HostStats&)) noexcept {
  if (host == nullptr) return c::no_handle(function);
  if (text == nullptr) return c::no_pointer(function, "text");
  return c::guarded(function, [&] {
    const auto stats = host->value.stats();
    return stats ? c::copy_text(function, write(*stats), text) : c::fail(stats.error());
  });
}

}  // namespace

int vmm_guest_get_stats(const vmm_guest* guest, vmm_guest_stats* stats) noexcept {
  if (guest == nullptr) return c::no_handle("vmm_guest_get_stats");
  if (const int r = c::check_room("vmm_guest_stats", stats); r != 0) return r;
  return c::guarded("vmm_guest_get_stats", [&] {
    const auto now = guest->value.stats();
    if (!now) return c::fail(now.error());
    c::store(figures_of(*now), stats);
    return 0;
  });
}

int vmm_host_get_stats(const vmm_host* host, vmm_host_stats* stats) noexcept {
  if (host == nullptr) return c::no_handle("vmm_host_get_stats");
  if (const int r = c::check_room("vmm_host_stats", stats); r != 0) return r;
  return c::guarded("vmm_host_get_stats", [&] {
    const auto now = host->value.stats();
    if (!now) return c::fail(now.error());
    c::store(figures_of(*now, host->value.capabilities().level), stats);
    return 0;
  });
}

const char* vmm_state_name(int state) noexcept { return vmm::to_string(static_cast<MemoryState>(state)); }

int vmm_host_stats_json(const vmm_host* host, char** text) noexcept {
  return stats_text("vmm_host_stats_json", host, text, [](const vmm::HostStats& s) { return vmm::to_json(s); });
}
int vmm_host_stats_prometheus(const vmm_host* host, char** text) noexcept {
  return stats_text("vmm_host_stats_prometheus", host, text, vmm::to_prometheus);
}
int vmm_host_stats_csv(const vmm_host* host, char** text) noexcept {
  return stats_text("vmm_host_stats_csv", host, text, vmm::to_csv);
}
