// What Host::stats() tells.
#include <algorithm>

#include "host/host_core.h"
#include "os/node_info.h"

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

Result<HostStats> HostCore::stats() {
  if (in_child()) return forked("stats");
  HostStats s;
  s.memory = credit_.budget() * kPageSize;
  s.consumed = credit_.consumed() * kPageSize;
  s.free = credit_.free() * kPageSize;
  s.overhead = overhead_pages_ * kPageSize;
  s.reserved = reserved_;
  s.min_free = arbiter_.min_free_pages() * kPageSize;
  s.state = arbiter_.state();
  s.pools = arbiter_.pool_stats();
  for (const auto& guest : guests()) {
    auto stats = guest->stats();
    if (!stats) continue;  // it is ending
    s.guests.push_back(std::move(*stats));
    s.swapped += s.guests.back().swapped;
    s.ballooned += s.guests.back().ballooned;
    add_sharing(s, s.guests.back());
  }
  if (s.share_cpu_ns > 0)
    s.share_saved_per_second = static_cast<double>(s.shared_saved) * 1e9 / static_cast<double>(s.share_cpu_ns);
  if (sharing_) s.share_frames = sharing_->stores.in_use() * kPageSize;
  for (const auto& node : nodes_) {
    s.nodes.push_back(node->node.id);
    NodeStats n;
    n.id = node->node.id;
    n.processors = static_cast<unsigned>(node->node.cpus.size());
    n.memory = node->node.memory;
    n.load = node->load.load(std::memory_order_relaxed);
    n.free = os::node_free_bytes(n.id).value_or(node->free.load(std::memory_order_relaxed));
    for (const auto& guest : s.guests) {
      if (guest.home_node != n.id) continue;
      ++n.guests;
      n.promised += guest.limit != 0 ? std::min(guest.limit, guest.memory) : guest.memory;
    }
    s.homes.push_back(n);
  }
  s.capability_level = move_ ? to_string(capabilities_.level)
                             : (managing_possible() ? to_string(CapabilityLevel::baseline) : "none");
  if (!nodes_.empty())
    s.swap_io = nodes_.front()->worker->backend() == os::AsyncIo::Backend::io_uring ? "io_uring" : "threads";
  return s;
}

}  // namespace vmm
