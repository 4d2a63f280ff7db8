// The figures of a host and its guests at one moment, as read from /stats.json. Members have the names of
// vmm::HostStats and vmm::GuestStats; see vmm/stats.h for what they count. Bytes where nothing else is said. A member
// that the host does not tell is 0: an older or newer libvmm can be looked at. Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "failure.h"

namespace vmmctl {

struct Latency {
  std::uint64_t count = 0, sum_ns = 0, p50_ns = 0, p99_ns = 0, max_ns = 0;
};

struct Guest {
  std::string name, pool;
  std::uint64_t id = 0;  // of those of its name; 0 = not told
  std::uint64_t memory = 0, reservation = 0, limit = 0, resident = 0, granted = 0, swapped = 0, swap_target = 0,
                lost = 0;
  std::uint64_t ballooned = 0, balloon_target = 0, balloon_max = 0, target = 0, overhead = 0, active = 0;
  std::uint64_t active_error = 0, pinned = 0;
  std::uint64_t shared = 0, shared_zero = 0, shared_common = 0, shared_saved = 0;
  // Since its creation.
  std::uint64_t swapped_in = 0, swapped_out = 0, swap_written = 0, ballooned_out = 0, balloon_popped = 0, migrated = 0;
  std::uint64_t faults = 0, fills = 0, rescues = 0, swap_ins = 0, balloon_pops = 0, swap_errors = 0, stalls = 0,
                stops = 0;  // counts
  std::uint64_t stopped_ns = 0, migrations = 0, shares = 0;
  std::uint64_t local = 0, remote = 0;
  std::int64_t home_node = -1;
  bool managed = false, stopped = false, balloon_distrusted = false, swap_failed = false;
  Latency fault_latency, fill_latency, rescue_latency, swap_in_latency, pop_latency, stop_latency;
};

struct Pool {
  std::string name;
  std::uint64_t shares = 0, reservation = 0, reserved = 0, limit = 0, consumed = 0;
};

struct Node {
  std::int64_t id = -1;
  std::uint64_t processors = 0, guests = 0, memory = 0, free = 0, promised = 0;
  double load = 0;
};

struct Snapshot {
  std::uint64_t time_ns = 0;  // CLOCK_MONOTONIC of the host
  std::int64_t wall_time_ms = 0;
  std::int64_t pid = 0;
  std::string version, state, capability_level, swap_io;
  std::uint64_t memory = 0, consumed = 0, withheld = 0, free = 0, overhead = 0, reserved = 0, swapped = 0;
  std::uint64_t ballooned = 0;
  std::uint64_t shared = 0, shared_zero = 0, shared_common = 0, shared_saved = 0, share_frames = 0, min_free = 0;
  std::vector<Pool> pools;
  std::vector<Guest> guests;
  std::vector<Node> homes;

  const Guest* find(const std::string& name) const;
  std::uint64_t sum(std::uint64_t Guest::*member) const;
  // What is withheld of the part of the budget that is not consumed: with `consumed` and `free` it is the budget, also
  // where the control group has come to allow less than is consumed.
  std::uint64_t withheld_unused() const;
};

struct Event {
  std::uint64_t sequence = 0, time_ns = 0, bytes = 0;
  std::string kind, guest, mechanism, reason;
};

struct EventPage {
  std::uint64_t next = 0, lost = 0;  // what to ask for next; events that were overwritten before they were asked for
  std::vector<Event> events;
};

// Text that is JSON, or FailureKind::garbage. Strings that are no UTF-8 are mended first.
Result<nlohmann::json> parse_json(const std::string& text);
// Errors: FailureKind::garbage (not the statistics of a host).
Result<Snapshot> parse_snapshot(const nlohmann::json& document);
// Errors: FailureKind::garbage.
Result<EventPage> parse_events(const nlohmann::json& document);
// One element of it.
Event parse_event(const nlohmann::json& document);

}  // namespace vmmctl
