// Statistics and events as text: for monitoring systems, scripts and vmmctl. One description of all fields
// (docs/statistics.md) is behind the three formats.
//
// All text is UTF-8. A byte of a name that is part of none becomes U+EF00 + byte (so do the bytes of U+EF80 to U+EFFF):
// different names stay different.
// Thread-safety: pure but for the process's id. They allocate, and throw std::bad_alloc where there is no memory.
#pragma once

#include <string>

#include "vmm/event.h"
#include "vmm/export.h"
#include "vmm/stats.h"

namespace vmm {

// Prometheus' text format, version 0.0.4: base units (bytes, seconds), a HELP and a TYPE line for each metric, labels
// `guest`, `pool` and `node`; latencies as summaries.
VMM_API std::string to_prometheus(const HostStats& stats);

// One object; its members are those of HostStats, by their names and in their units, and "version" and "pid" of the
// process besides. Whole numbers are exact.
VMM_API std::string to_json(const HostStats& stats);

// A line of names, one line for the host and one a guest (RFC 4180, but lines end in "\n"); what one of them does not
// have is empty. Latencies are a column for each of their parts.
VMM_API std::string to_csv(const HostStats& stats);

// One object: sequence, time_ns, kind, guest, bytes, mechanism, reason.
VMM_API std::string to_json(const EventRecord& record);
// One object: next, lost, events.
VMM_API std::string to_json(const EventLedger& ledger);

}  // namespace vmm
