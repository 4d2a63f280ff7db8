// The one description of all figures: what each member of HostStats, GuestStats, PoolStats and NodeStats is called,
// what it counts, and what it means. The text formats and docs/statistics.md are made of it; a test counts the members.
// Thread-safety: constants.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>

#include "vmm/stats.h"

namespace vmm::host {

enum class StatUnit : std::uint8_t { none, bytes, bytes_per_second, nanoseconds, milliseconds };

// A gauge may fall; a counter only grows while what it belongs to exists.
enum class StatKind : std::uint8_t { gauge, counter };

template <class Stats>
struct StatField {
  using Member = std::variant<std::uint64_t Stats::*, double Stats::*, bool Stats::*, int Stats::*, unsigned Stats::*,
                              std::string Stats::*, LatencySummary Stats::*, MemoryState Stats::*,
                              LatencyHistogram Stats::*>;
  const char* name;  // of the member
  Member member;
  StatKind kind;
  StatUnit unit;
  const char* esxtop;  // the column that shows the like; empty: none
  const char* help;    // one line
};

// In the order of the members. Lists are not among them: HostStats::pools, guests, nodes and homes.
std::span<const StatField<HostStats>> host_fields() noexcept;
std::span<const StatField<GuestStats>> guest_fields() noexcept;
std::span<const StatField<PoolStats>> pool_fields() noexcept;
std::span<const StatField<NodeStats>> node_fields() noexcept;

// What Prometheus calls a field without its prefix: "resident" in bytes is "resident_bytes", a counter ends in
// "_total".
std::string metric_name(const char* field, StatKind kind, StatUnit unit);

}  // namespace vmm::host
