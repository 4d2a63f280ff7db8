// What Guest::stats() tells, and what Host::stats() tells of a guest.
#include <algorithm>
#include <new>

#include "base/above.h"
#include "host/guest_core.h"
#include "host/host_core.h"
#include "host/seat.h"
#include "reclaim/swap_store.h"

namespace vmm {
namespace {

std::uint64_t load(const std::atomic<std::uint64_t>& a) noexcept { return a.load(std::memory_order_relaxed); }
std::uint64_t bytes(const std::atomic<std::uint64_t>& pages) noexcept { return load(pages) * kPageSize; }

void describe_arbitration(GuestStats& s, const region::Arbitration& a) noexcept {
  s.reservation = bytes(a.reserved);
  s.limit = bytes(a.limit);
  s.target = bytes(a.target);
  s.overhead = bytes(a.overhead);
  s.stopped = a.stopped.load(std::memory_order_relaxed);
  const auto part = [&](const std::atomic<double>& fraction) {
    return static_cast<std::uint64_t>(fraction.load(std::memory_order_relaxed) * static_cast<double>(s.memory));
  };
  s.active = part(a.active);
  s.active_error = part(a.active_error);
  s.sampled = a.sampled.load(std::memory_order_relaxed);
  s.samples = load(a.samples);
  s.balloon_max = bytes(a.balloon_max);
  s.balloon_target = bytes(a.balloon_target);
  s.balloon_distrusted = a.balloon_distrusted.load(std::memory_order_relaxed);
  s.shares = load(a.shares);
}

void describe_counters(GuestStats& s, const region::GuestCounters& c) noexcept {
  s.sample_faults = load(c.sample_faults);
  s.sample_wait_ns = load(c.sample_wait_ns);
  s.ballooned = bytes(c.ballooned);
  s.ballooned_out = bytes(c.ballooned_out);
  s.balloon_popped = bytes(c.balloon_popped);
  s.balloon_refused = bytes(c.balloon_refused);
  s.balloon_late = load(c.balloon_late);
  s.stops = load(c.stops);
  s.stopped_ns = load(c.stopped_ns);
  s.staging = bytes(c.staging);
  s.swapped = bytes(c.swapped);
  s.lost = bytes(c.lost);
  s.pinned = bytes(c.pinned);
  s.swapped_out = bytes(c.swapped_out);
  s.swap_written = load(c.swap_written);
  s.swapped_in = bytes(c.swapped_in);
  s.fills = load(c.fills);
  s.balloon_pops = load(c.balloon_pops);
  s.rescues = load(c.rescues);
  s.swap_ins = load(c.swap_ins);
  // After its parts, each of which is counted after it.
  s.faults = load(c.faults);
  s.swap_errors = load(c.swap_errors);
  s.stalls = load(c.stalls);
  s.busy_pages = load(c.busy_pages);
  s.rejected_faults = load(c.rejected_faults);
}

void describe_sharing(GuestStats& s, const region::GuestMemory& m) noexcept {
  const auto& c = m.counters.share;
  const auto shown = bytes(m.counters.shared), frames = std::min(bytes(c.frames), shown);
  const auto common = c.common.load(std::memory_order_relaxed) * static_cast<double>(kPageSize);
  s.shared_zero = m.table.dropped() * kPageSize;
  s.shared = shown + s.shared_zero;
  s.shared_common = std::min(static_cast<std::uint64_t>(common + 0.5), frames);
  s.shared_saved = s.shared - s.shared_common;
  s.shared_within = shown - frames;
  s.shared_between = frames - s.shared_common;
  s.share_candidates = bytes(c.candidates);
  s.share_waiting = bytes(c.waiting);
  s.share_cpu_ns = load(c.cpu_ns);
  s.share_scanned = bytes(c.looked);
  s.share_made = bytes(c.shared);
  s.share_zero = bytes(c.zero);
  s.share_broken = bytes(c.broken);
  s.share_changing = bytes(c.changing);
  s.share_pinned = bytes(c.pinned);
  s.share_huge = bytes(c.huge);
  s.share_no_mapping = bytes(c.no_mapping);
  s.share_no_memory = bytes(c.no_memory);
  s.share_busy = bytes(c.busy);
  s.share_refused = s.share_no_mapping + s.share_no_memory + s.share_busy;
}

// What is missing to the target, all that it would hold taken together, is swapped unless the balloon is to take it.
std::uint64_t swap_target(const GuestStats& s) noexcept {
  if (s.target == 0) return 0;  // no plan has been made yet
  return base::above(s.resident + s.swapped + s.ballooned + s.overhead, s.target + s.balloon_target);
}

}  // namespace

// Each answer is counted among the guest's faults first, and then in its histogram: a summary of as many as that is the
// last one, and the histogram, which lies elsewhere, need not be looked at.
void GuestCore::summarize(const GuestStats& s, Latency& latency) const noexcept {
  const auto& m = *memory_;
  const auto update = [](LatencySummary& summary, std::uint64_t counted, const base::Histogram& histogram) {
    if (summary.count == counted || summary.count == histogram.count()) return false;
    summary = histogram.summary();
    return true;
  };
  bool changed = update(latency.fill, s.fills, m.latency.fill);
  changed |= update(latency.pop, s.balloon_pops, m.latency.pop);
  changed |= update(latency.rescue, s.rescues, m.latency.rescue);
  changed |= update(latency.swap_in, s.swap_ins, m.latency.swap_in);
  if (s.stops > 0) update(latency.stop, ~std::uint64_t{0}, m.latency.stop);
  if (!changed) return;
  // Mostly there are no pops and rescues.
  latency.all = s.balloon_pops + s.rescues == 0
                    ? base::Histogram::merged({&m.latency.fill, &m.latency.swap_in})
                    : base::Histogram::merged(
                          {&m.latency.fill, &m.latency.pop, &m.latency.rescue, &m.latency.swap_in});
}

void GuestCore::describe(GuestStats& s, Latency& latency) const noexcept {
  const auto& m = *memory_;
  const auto& store = reclaim::SwapStore::of(m);
  s.id = m.id();
  s.memory = options_.memory;
  describe_arbitration(s, m.arbitration);
  describe_counters(s, m.counters);
  describe_sharing(s, m);
  s.managed = m.managed();
  s.resident = m.held() * kPageSize;
  s.granted = s.resident + s.shared;
  s.swap_target = swap_target(s);
  s.swap_file = store.file.bytes();
  s.swap_failed = store.failed();
  s.metadata = m.metadata_bytes() + store.metadata_bytes();
  summarize(s, latency);
  s.fault_latency = latency.all;
  s.fill_latency = latency.fill;
  s.pop_latency = latency.pop;
  s.rescue_latency = latency.rescue;
  s.swap_in_latency = latency.swap_in;
  s.stop_latency = latency.stop;
  s.home_node = node_.load(std::memory_order_acquire)->node.id;
  s.thread_nice = home.nice.load(std::memory_order_relaxed);
  s.migrations = load(home.moves);
  s.local = static_cast<std::uint64_t>(static_cast<double>(s.resident) * home.local.load(std::memory_order_relaxed));
  s.remote = base::above(s.resident, s.local);
  s.migrated = migration_->moved() * kPageSize;
  const auto migration = migration_->pass();
  s.migration_pinned = migration.pinned * kPageSize;
  s.migration_no_memory = migration.no_memory * kPageSize;
  s.migration_refused = migration.refused * kPageSize;
  s.migration_rate = migration_->under_way() ? migration_->rate() : 0;
  s.attached_threads = attached_.load(std::memory_order_relaxed);
  s.attached_cpu_ns = load(attached_cpu_);
}

void GuestCore::describe(GuestStats& s) noexcept { describe(s, latency_); }

void GuestCore::look_at_seats() noexcept {
  base::MutexLock lock(seats_mutex_);
  std::uint64_t sum = 0;
  for (const auto& weak : seats_)
    if (const auto seat = weak.lock()) sum += seat->told_cpu = seat->cpu_ns();
  attached_cpu_.store(sum, std::memory_order_relaxed);
}

Result<GuestStats> GuestCore::stats() {
  host::GatePass pass(gate_);
  if (auto error = refused("stats", pass)) return tl::unexpected(std::move(*error));
  GuestStats s;
  s.name = options_.name;
  if (const auto* pool = memory_->arbitration.pool_name.load(std::memory_order_acquire)) s.pool = *pool;
  look_at_seats();
  Latency latency;
  describe(s, latency);
  return s;
}

}  // namespace vmm
