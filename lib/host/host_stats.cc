// What Host::stats() tells.
#include <algorithm>

#include "base/above.h"
#include "base/clock.h"
#include "host/host_core.h"
#include "host/text_out.h"

namespace vmm {

const char* to_string(MemoryState state) noexcept {
  switch (state) {
    case MemoryState::high: return "high";
    case MemoryState::clear: return "clear";
    case MemoryState::soft: return "soft";
    case MemoryState::hard: return "hard";
    case MemoryState::low: return "low";
  }
  return "unknown";
}

namespace {

void add_sharing(HostStats& s, const GuestStats& guest) {
  s.shared += guest.shared;
  s.shared_zero += guest.shared_zero;
  s.shared_common += guest.shared_common;
  s.shared_saved += guest.shared_saved;
  s.shared_within += guest.shared_within;
  s.shared_between += guest.shared_between;
  s.share_cpu_ns += guest.share_cpu_ns;
}

}  // namespace

// The guests in the list do not end while it is held: who ends one takes it out first.
void HostCore::describe_guests(std::vector<GuestStats>& all) {
  base::MutexLock lock(list_mutex_);
  all.reserve(list_.size());
  for (const auto& one : list_) {
    auto& guest = *one;
    auto& s = all.emplace_back();  // in the processor's first cache when it is filled in
    s.name = guest.name();
    if (const auto* pool = guest.memory().arbitration.pool_name.load(std::memory_order_acquire)) s.pool = *pool;
    guest.describe(s);
  }
}

// A fault that is answered meanwhile is in one of them, or not yet.
void HostCore::describe_latency(HostStats& s) const {
  for (const auto& node : nodes_) {
    const auto& of_node = node->faults->latency();
    of_node.fill.add_to(s.fill_latency);
    of_node.pop.add_to(s.pop_latency);
    of_node.rescue.add_to(s.rescue_latency);
    of_node.swap_in.add_to(s.swap_in_latency);
    of_node.stop.add_to(s.stop_latency);
  }
}

void HostCore::describe_nodes(HostStats& s) {
  s.nodes.reserve(nodes_.size());
  s.homes.resize(nodes_.size());
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const auto& node = *nodes_[i];
    auto& n = s.homes[i];
    s.nodes.push_back(node.node.id);
    n.id = node.node.id;
    n.processors = static_cast<unsigned>(node.node.cpus.size());
    n.memory = node.node.memory;
    n.load = node.load.load(std::memory_order_relaxed);
    n.free = node.free.load(std::memory_order_relaxed);
  }
  for (const auto& guest : s.guests)
    for (auto& n : s.homes) {
      if (guest.home_node != n.id) continue;
      ++n.guests;
      n.promised += guest.limit != 0 ? std::min(guest.limit, guest.memory) : guest.memory;
      break;
    }
}

Result<HostStats> HostCore::stats() {
  if (in_child()) return forked("stats");
  // What is returned is this very object: it is too large to be copied.
  Result<HostStats> result{tl::in_place};
  auto& s = *result;
  s.time_ns = static_cast<std::uint64_t>(clock_.now().count());
  s.wall_time_ms = base::wall_time_ms();
  s.memory = credit_.budget() * kPageSize;
  s.consumed = credit_.consumed() * kPageSize;
  s.withheld = credit_.withheld() * kPageSize;
  // Of these very figures: they move meanwhile.
  s.free = base::above(s.memory, s.withheld + s.consumed);
  s.overhead = overhead_pages_ * kPageSize;
  s.reserved = reserved_;
  s.min_free = arbiter_.min_free_pages() * kPageSize;
  s.state = arbiter_.state();
  s.pools = arbiter_.pool_stats();
  describe_guests(s.guests);
  for (const auto& guest : s.guests) {
    s.swapped += guest.swapped;
    s.ballooned += guest.ballooned;
    add_sharing(s, guest);
  }
  if (s.share_cpu_ns > 0)
    s.share_saved_per_second = static_cast<double>(s.shared_saved) * 1e9 / static_cast<double>(s.share_cpu_ns);
  if (sharing_) s.share_frames = sharing_->stores.in_use() * kPageSize;
  describe_nodes(s);
  describe_latency(s);
  s.capability_level = move_ ? to_string(capabilities_.level)
                             : (managing_possible() ? to_string(CapabilityLevel::baseline) : "none");
  if (!nodes_.empty())
    s.swap_io = nodes_.front()->worker->backend() == os::AsyncIo::Backend::io_uring ? "io_uring" : "threads";
  return result;
}

std::shared_ptr<GuestCore> HostCore::find_guest(const std::string& name) {
  // As it is written in statistics, first: by that it is known outside.
  std::shared_ptr<GuestCore> called_so;
  for (auto& guest : guests()) {
    if (host::utf8(guest->name()) == name) return guest;
    if (guest->name() == name) called_so = std::move(guest);
  }
  return called_so;
}

Result<EventLedger> HostCore::events(std::uint64_t since) {
  if (in_child()) return forked("events");
  return ledger_.since(since);
}

}  // namespace vmm
