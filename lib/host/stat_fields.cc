// The figures of the host, its pools and nodes; names of metrics.
#include "host/stat_fields.h"

#include <string_view>

namespace vmm::host {
namespace {

constexpr StatField<HostStats> kHostFields[] = {
    {"time_ns", &HostStats::time_ns, StatKind::gauge, StatUnit::nanoseconds, "",
     "when the figures were taken: the host's time, CLOCK_MONOTONIC unless it is driven by Host::tick"},
    {"wall_time_ms", &HostStats::wall_time_ms, StatKind::gauge, StatUnit::milliseconds, "",
     "when the figures were taken, since 1970 began"},
    {"memory", &HostStats::memory, StatKind::gauge, StatUnit::bytes, "PMEM total", "the budget of all guests together"},
    {"consumed", &HostStats::consumed, StatKind::gauge, StatUnit::bytes, "",
     "resident memory of the guests, the copies that sharing shows, and overhead"},
    {"withheld", &HostStats::withheld, StatKind::gauge, StatUnit::bytes, "",
     "part of the budget that cannot be had now: the process's control group has less"},
    {"free", &HostStats::free, StatKind::gauge, StatUnit::bytes, "PMEM free",
     "memory - withheld - consumed, at least 0"},
    {"overhead", &HostStats::overhead, StatKind::gauge, StatUnit::bytes, "PMEM vmk",
     "metadata and buffers of the library, and at most what the kernel's page tables take"},
    {"reserved", &HostStats::reserved, StatKind::gauge, StatUnit::bytes, "VMKMEM rsvd",
     "sum of the guests' reservations"},
    {"swapped", &HostStats::swapped, StatKind::gauge, StatUnit::bytes, "SWAP curr", "only in swap files"},
    {"ballooned", &HostStats::ballooned, StatKind::gauge, StatUnit::bytes, "MEMCTL curr",
     "given up by balloon drivers and not touched since"},
    {"shared", &HostStats::shared, StatKind::gauge, StatUnit::bytes, "PSHARE shared",
     "shows a copy that others show, too, or zeros"},
    {"shared_zero", &HostStats::shared_zero, StatKind::gauge, StatUnit::bytes, "",
     "part of shared that held nothing but zeros"},
    {"shared_common", &HostStats::shared_common, StatKind::gauge, StatUnit::bytes, "PSHARE common",
     "memory of the copies, as the guests count them"},
    {"shared_saved", &HostStats::shared_saved, StatKind::gauge, StatUnit::bytes, "PSHARE saving",
     "saved by sharing: shared - shared_common"},
    {"shared_within", &HostStats::shared_within, StatKind::gauge, StatUnit::bytes, "",
     "saved by what is equal within guests"},
    {"shared_between", &HostStats::shared_between, StatKind::gauge, StatUnit::bytes, "",
     "saved by what is equal between guests"},
    {"share_cpu_ns", &HostStats::share_cpu_ns, StatKind::gauge, StatUnit::nanoseconds, "",
     "processor time that looking for equal pages took, of the guests there are"},
    {"share_saved_per_second", &HostStats::share_saved_per_second, StatKind::gauge, StatUnit::bytes_per_second, "",
     "shared_saved by second of that processor time; 0: none was spent"},
    {"share_frames", &HostStats::share_frames, StatKind::gauge, StatUnit::bytes, "",
     "the copies that are shown; part of consumed"},
    {"min_free", &HostStats::min_free, StatKind::gauge, StatUnit::bytes, "minfree",
     "below this much free memory the state is no longer high"},
    {"state", &HostStats::state, StatKind::gauge, StatUnit::none, "state",
     "how short memory is: high, clear, soft, hard or low"},
    {"fill_latency", &HostStats::fill_latency, StatKind::gauge, StatUnit::nanoseconds, "",
     "faults answered with zeros, on pages that no balloon had; of all guests, those that have ended included"},
    {"pop_latency", &HostStats::pop_latency, StatKind::gauge, StatUnit::nanoseconds, "",
     "faults answered with zeros, on ballooned pages; of all guests, those that have ended included"},
    {"rescue_latency", &HostStats::rescue_latency, StatKind::gauge, StatUnit::nanoseconds, "",
     "faults answered from staging; of all guests, those that have ended included"},
    {"swap_in_latency", &HostStats::swap_in_latency, StatKind::gauge, StatUnit::nanoseconds, "",
     "faults answered from the swap file; of all guests, those that have ended included"},
    {"stop_latency", &HostStats::stop_latency, StatKind::gauge, StatUnit::nanoseconds, "",
     "how long faults waited because their guest was stopped; of all guests, those that have ended included"},
    {"capability_level", &HostStats::capability_level, StatKind::gauge, StatUnit::none, "",
     "what the kernel allows: full, baseline, user_mode or none"},
    {"swap_io", &HostStats::swap_io, StatKind::gauge, StatUnit::none, "",
     "how swap files are read and written: io_uring or threads"},
};

constexpr StatField<PoolStats> kPoolFields[] = {
    {"name", &PoolStats::name, StatKind::gauge, StatUnit::none, "", "path of the pool; / is the host"},
    {"shares", &PoolStats::shares, StatKind::gauge, StatUnit::none, "", "its claim to memory against its siblings"},
    {"reservation", &PoolStats::reservation, StatKind::gauge, StatUnit::bytes, "",
     "memory guaranteed to its guests together"},
    {"reserved", &PoolStats::reserved, StatKind::gauge, StatUnit::bytes, "",
     "reserved by its guests and pools; may be more than the reservation if that is expandable"},
    {"limit", &PoolStats::limit, StatKind::gauge, StatUnit::bytes, "",
     "most memory that its guests together may hold; 0 = no limit"},
    {"consumed", &PoolStats::consumed, StatKind::gauge, StatUnit::bytes, "", "memory of its guests, overhead included"},
    {"expandable_reservation", &PoolStats::expandable_reservation, StatKind::gauge, StatUnit::none, "",
     "1 = its guests may reserve more, from what the parent has unreserved"},
};

constexpr StatField<NodeStats> kNodeFields[] = {
    {"id", &NodeStats::id, StatKind::gauge, StatUnit::none, "", "number of the node, as the kernel counts"},
    {"processors", &NodeStats::processors, StatKind::gauge, StatUnit::none, "", "processors of the node"},
    {"guests", &NodeStats::guests, StatKind::gauge, StatUnit::none, "", "guests homed there"},
    {"load", &NodeStats::load, StatKind::gauge, StatUnit::none, "",
     "what its guests are entitled to and want of its processors: 1 = all of them"},
    {"memory", &NodeStats::memory, StatKind::gauge, StatUnit::bytes, "NUMA total", "memory of the node"},
    {"free", &NodeStats::free, StatKind::gauge, StatUnit::bytes, "NUMA free",
     "memory of the node that nobody uses, as the scheduler last looked"},
    {"promised", &NodeStats::promised, StatKind::gauge, StatUnit::bytes, "",
     "sizes of the guests homed there, or their limits where less"},
};

// Prometheus has base units only, and names them: a unit in the member's name goes.
std::string_view without_unit(std::string_view name) {
  for (const std::string_view unit : {"_ns", "_ms", "_per_second"})
    if (name.size() > unit.size() && name.substr(name.size() - unit.size()) == unit)
      return name.substr(0, name.size() - unit.size());
  return name;
}

}  // namespace

std::span<const StatField<HostStats>> host_fields() noexcept { return kHostFields; }
std::span<const StatField<PoolStats>> pool_fields() noexcept { return kPoolFields; }
std::span<const StatField<NodeStats>> node_fields() noexcept { return kNodeFields; }

std::string metric_name(const char* field, StatKind kind, StatUnit unit) {
  std::string name(without_unit(field));
  switch (unit) {
    case StatUnit::none: break;
    case StatUnit::bytes: name += "_bytes"; break;
    case StatUnit::bytes_per_second: name += "_bytes_per_second"; break;
    case StatUnit::nanoseconds:
    case StatUnit::milliseconds: name += "_seconds"; break;
  }
  if (kind == StatKind::counter) name += "_total";
  return name;
}

}  // namespace vmm::host
