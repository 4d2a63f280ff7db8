// Live changes of a host, its pools and its guests.
#include <algorithm>
#include <string>

#include "base/error.h"
#include "host/host_core.h"
#include "host/options_check.h"
#include "reclaim/swap_store.h"

namespace vmm {

Result<void> HostCore::create_pool(const std::string& path, const PoolOptions& options) {
  if (in_child()) return forked("create_pool");
  base::MutexLock lock(control_);
  // Nobody could keep native guests to a limit.
  if (options.limit != 0)
    if (auto r = manageable("pool \"" + path + "\": PoolOptions::limit = " + std::to_string(options.limit)); !r)
      return r;
  set_pinned_beyond();
  return arbiter_.create_pool(path, options);
}

Result<void> HostCore::remove_pool(const std::string& path) {
  if (in_child()) return forked("remove_pool");
  base::MutexLock lock(control_);
  return arbiter_.remove_pool(path);
}

Result<void> HostCore::configure_pool(const std::string& path, const PoolChange& change) {
  if (in_child()) return forked("configure_pool");
  base::MutexLock lock(control_);
  set_pinned_beyond();
  if (auto r = arbiter_.check_pool_change(path, change); !r) return r;
  // Nobody could keep native guests to a limit. A guest that cannot be managed refuses it.
  if (change.limit.value_or(0) != 0) {
    if (auto r = manageable("pool \"" + path + "\": PoolChange::limit = " + std::to_string(*change.limit)); !r)
      return r;
    for (const auto& guest : guests()) {
      host::GatePass pass(guest->gate());
      if (!pass) continue;
      const auto pool = arbiter_.entitlement(guest->memory()).pool;
      const bool inside = pool == path || pool.compare(0, path.size() + 1, path + "/") == 0;
      if (!inside) continue;
      if (auto r = guest->manage("its pool has a limit"); !r) return r;
    }
  }
  if (auto r = arbiter_.configure_pool(path, change); !r) return r;
  memory_wanted();
  credit_returned();  // who waits for a limit that is raised
  return {};
}

Result<void> HostCore::configure(const HostChange& change) {
  if (in_child()) return forked("configure");
  base::MutexLock lock(control_);
  auto options = arbiter_.options();
  const auto set = [](auto& field, const auto& to) { field = to.value_or(field); };
  set(options.min_free, change.min_free);
  set(options.memory_ladder, change.memory_ladder);
  set(options.balance_period, change.balance_period);
  set(options.idle_tax, change.idle_tax);
  set(options.sample_pages, change.sample_pages);
  set(options.sample_period, change.sample_period);
  set(options.balloon_max_percent, change.balloon_max_percent);
  set(options.balloon_timeout, change.balloon_timeout);
  set(options.stop_timeout, change.stop_timeout);
  set(options.rebalance, change.rebalance);
  set(options.migration_rate_max, change.migration_rate_max);
  set(options.share_scan_time, change.share_scan_time);
  set(options.share_rate_max, change.share_rate_max);
  set(options.share_scan_ghz, change.share_scan_ghz);
  if (!sharing_ && options.share_scan_ghz > 0)
    return base::invalid("HostChange::share_scan_ghz = " + std::to_string(options.share_scan_ghz),
                         "create the host with share_scan_ghz above 0: this one has nothing to share pages with");
  auto budget = credit_.budget() * kPageSize;
  if (change.memory) {
    options.memory = *change.memory;
    budget = options.memory != 0 ? options.memory : default_budget(credit_.consumed() * kPageSize);
  }
  if (auto r = host::check_host_options(options, budget, host_overhead_pages() * kPageSize, capabilities_); !r)
    return r;
  set_pinned_beyond();
  if (auto r = arbiter_.configure(options, budget / kPageSize); !r) return r;
  if (change.migration_rate_max) lower_migration_rates();
  if (change.share_scan_ghz || change.share_scan_time || change.share_rate_max)
    for (const auto& node : nodes_) node->set_share_rates(options);
  if (change.memory) advise_on_overcommitment("");
  memory_wanted();
  watch_again();
  return {};
}

Result<void> HostCore::configure_guest(GuestCore& guest, const GuestChange& change) {
  if (in_child()) return forked("configure");
  base::MutexLock lock(control_);
  host::GatePass pass(guest.gate());
  if (auto error = guest.refused("configure", pass)) return tl::unexpected(*error);
  auto& m = guest.memory();
  auto e = arbiter_.entitlement(m);
  const auto set = [](auto& field, const auto& to) { field = to.value_or(field); };
  set(e.shares, change.shares);
  set(e.reservation, change.reservation);
  set(e.limit, change.limit);
  set(e.pool, change.pool);
  if (change.idle_tax) e.idle_tax = change.idle_tax;
  if (change.balloon_max) e.balloon_max = change.balloon_max;
  auto options = guest.options();
  options.shares = e.shares;
  options.reservation = e.reservation;
  options.limit = e.limit;
  options.pool = e.pool;
  options.idle_tax = e.idle_tax;
  options.balloon_max = e.balloon_max;
  options.node_affinity = change.node_affinity.value_or(guest.affinity());
  if (auto r = host::check_guest_options(options, topology_); !r) return r;
  set_pinned_beyond();
  if (auto r = arbiter_.check_change(m, e); !r) return r;
  // All that can fail comes before what cannot be undone. A larger file and a managed guest do no harm.
  const auto tables = overhead_of(m);
  if (auto r = reclaim::SwapStore::of(m).grow(swap_file_of(options)); !r) return r;
  const auto more = overhead_of(m) - tables;
  m.arbitration.overhead += more;
  overhead_pages_ += more;
  credit_.charge(more);
  const bool limited = (e.limit != 0 && e.limit < options.memory) || arbiter_.pool_limited(e.pool);
  if (limited)
    if (auto r = guest.manage("it has a limit, or its pool"); !r) return r;
  auto affinity = options.node_affinity;
  if (change.node_affinity)
    if (auto r = confine(guest, options); !r) return r;
  const auto before = promise_of(m);
  if (auto r = arbiter_.change(m, e); !r) return r;
  count_promise(guest.node(), before, false);
  count_promise(guest.node(), promise_of(m), true);
  if (change.node_affinity) guest.set_affinity(std::move(affinity));
  if (change.rebalance) guest.home.movable = *change.rebalance;
  memory_wanted();
  credit_returned();  // who waits for a limit that is raised, or in a pool that it has left
  bell_.ring();
  return {};
}

}  // namespace vmm
