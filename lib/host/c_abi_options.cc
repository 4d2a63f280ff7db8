// The C interface: structs of options and changes, in C++'s words.
#include <chrono>

#include "base/error.h"
#include "host/c_abi.h"

namespace vmm::host::c {
namespace {

using std::chrono::milliseconds;

static_assert(same(MemoryLadder::classic, VMM_LADDER_CLASSIC) && same(MemoryLadder::sliding, VMM_LADDER_SLIDING));
static_assert(same(InitialPlacement::round_robin, VMM_PLACEMENT_ROUND_ROBIN) &&
              same(InitialPlacement::load_and_distance, VMM_PLACEMENT_LOAD_AND_DISTANCE));
static_assert(same(Scheduler::automatic, VMM_SCHEDULER_AUTOMATIC) && same(Scheduler::manual, VMM_SCHEDULER_MANUAL));
static_assert(same(Isolation::automatic, VMM_ISOLATION_AUTOMATIC) && same(Isolation::move, VMM_ISOLATION_MOVE) &&
              same(Isolation::write_protect, VMM_ISOLATION_WRITE_PROTECT));
static_assert(same(SwapIo::automatic, VMM_SWAP_IO_AUTOMATIC) && same(SwapIo::io_uring, VMM_SWAP_IO_IO_URING) &&
              same(SwapIo::threads, VMM_SWAP_IO_THREADS));
static_assert(same(Management::automatic, VMM_MANAGEMENT_AUTOMATIC) &&
              same(Management::on_demand, VMM_MANAGEMENT_ON_DEMAND) &&
              same(Management::at_creation, VMM_MANAGEMENT_AT_CREATION));
static_assert(VMM_PAGE_SIZE == kPageSize && VMM_HUGE_PAGE_SIZE == kHugePageSize);

Result<void> check_unused(const char* field, std::uint64_t value) {
  if (value == 0) return {};
  return base::invalid(std::string(field) + " = " + std::to_string(value), "leave it 0");
}

struct Flag {
  const char* field;
  std::uint32_t value;
};
Result<void> check_flags(std::initializer_list<Flag> flags) {
  for (const auto& f : flags)
    if (auto r = check_flag(f.field, f.value); !r) return r;
  return {};
}

// `to` gets the value if the bit is set.
template <class To, class From>
void change_if(std::uint64_t set, std::uint64_t bit, std::optional<To>& to, const From& from) {
  if ((set & bit) != 0) to = static_cast<To>(from);
}

}  // namespace

vmm_host_options default_host_options() noexcept {
  const HostOptions o;
  vmm_host_options c{};
  c.size = sizeof(c);
  c.memory = o.memory;
  c.swap_retry_timeout_ms = o.swap_retry_timeout.count();
  c.balance_period_ms = o.balance_period.count();
  c.sample_period_ms = o.sample_period.count();
  c.balloon_timeout_ms = o.balloon_timeout.count();
  c.stop_timeout_ms = o.stop_timeout.count();
  c.rebalance_period_ms = o.rebalance_period.count();
  c.rebalance_cool_down_ms = o.rebalance_cool_down.count();
  c.share_scan_time_ms = o.share_scan_time.count();
  c.watchdog_timeout_ms = o.watchdog_timeout.count();
  c.min_free = o.min_free;
  c.idle_tax = o.idle_tax;
  c.rebalance_imbalance = o.rebalance_imbalance;
  c.rebalance_improvement = o.rebalance_improvement;
  c.rebalance_locality_weight = o.rebalance_locality_weight;
  c.migration_rate_max = o.migration_rate_max;
  c.share_scan_ghz = o.share_scan_ghz;
  c.swap_persist = o.swap_persist;
  c.swap_in_batch_pages = o.swap_in_batch_pages;
  c.swap_async_write_pages = o.swap_async_write_pages;
  c.sample_pages = o.sample_pages;
  c.balloon_max_percent = o.balloon_max_percent;
  c.rebalance = o.rebalance;
  c.rebalance_swap = o.rebalance_swap;
  c.rebalance_swap_interval = o.rebalance_swap_interval;
  c.rebalance_fairness_interval = o.rebalance_fairness_interval;
  c.rebalance_max_moves = o.rebalance_max_moves;
  c.cpu_weights = o.cpu_weights;
  c.share_rate_max = o.share_rate_max;
  c.alloc_guest_large_page = o.alloc_guest_large_page;
  c.stats_control = o.stats_control;
  c.memory_ladder = static_cast<int>(o.memory_ladder);
  c.placement = static_cast<int>(o.placement);
  c.scheduler = static_cast<int>(o.scheduler);
  c.isolation = static_cast<int>(o.isolation);
  c.swap_io = static_cast<int>(o.swap_io);
  c.management = static_cast<int>(o.management);
  return c;
}

vmm_guest_options default_guest_options() noexcept {
  const GuestOptions o;
  vmm_guest_options c{};
  c.size = sizeof(c);
  c.shares = VMM_SHARES_NORMAL;
  c.rebalance = o.rebalance;
  c.bind_memory = o.bind_memory;
  c.large_pages = o.large_pages;
  c.page_sharing = o.page_sharing;
  c.core_dump = o.core_dump;
  return c;
}

vmm_pool_options default_pool_options() noexcept {
  vmm_pool_options c{};
  c.size = sizeof(c);
  c.shares = VMM_SHARES_NORMAL;
  c.expandable_reservation = PoolOptions{}.expandable_reservation;
  return c;
}

Result<HostOptions> to_options(const vmm_host_options& c) {
  if (auto r = check_flags({{"HostOptions::swap_persist", c.swap_persist},
                            {"HostOptions::rebalance", c.rebalance},
                            {"HostOptions::rebalance_swap", c.rebalance_swap},
                            {"HostOptions::cpu_weights", c.cpu_weights},
                            {"HostOptions::alloc_guest_large_page", c.alloc_guest_large_page},
                            {"HostOptions::stats_control", c.stats_control}});
      !r)
    return tl::unexpected(r.error());
  HostOptions o;
  o.memory = c.memory;
  o.swap_directory = text_of(c.swap_directory);
  o.stats_socket = text_of(c.stats_socket);
  o.swap_retry_timeout = milliseconds(c.swap_retry_timeout_ms);
  o.balance_period = milliseconds(c.balance_period_ms);
  o.sample_period = milliseconds(c.sample_period_ms);
  o.balloon_timeout = milliseconds(c.balloon_timeout_ms);
  o.stop_timeout = milliseconds(c.stop_timeout_ms);
  o.rebalance_period = milliseconds(c.rebalance_period_ms);
  o.rebalance_cool_down = milliseconds(c.rebalance_cool_down_ms);
  o.share_scan_time = milliseconds(c.share_scan_time_ms);
  o.watchdog_timeout = milliseconds(c.watchdog_timeout_ms);
  o.min_free = c.min_free;
  o.idle_tax = c.idle_tax;
  o.rebalance_imbalance = c.rebalance_imbalance;
  o.rebalance_improvement = c.rebalance_improvement;
  o.rebalance_locality_weight = c.rebalance_locality_weight;
  o.migration_rate_max = c.migration_rate_max;
  o.share_scan_ghz = c.share_scan_ghz;
  o.swap_persist = c.swap_persist != 0;
  o.swap_in_batch_pages = c.swap_in_batch_pages;
  o.swap_async_write_pages = c.swap_async_write_pages;
  o.sample_pages = c.sample_pages;
  o.balloon_max_percent = c.balloon_max_percent;
  o.rebalance = c.rebalance != 0;
  o.rebalance_swap = c.rebalance_swap != 0;
  o.rebalance_swap_interval = c.rebalance_swap_interval;
  o.rebalance_fairness_interval = c.rebalance_fairness_interval;
  o.rebalance_max_moves = c.rebalance_max_moves;
  o.cpu_weights = c.cpu_weights != 0;
  o.share_rate_max = c.share_rate_max;
  o.alloc_guest_large_page = c.alloc_guest_large_page != 0;
  o.stats_control = c.stats_control != 0;
  o.memory_ladder = static_cast<MemoryLadder>(c.memory_ladder);
  o.placement = static_cast<InitialPlacement>(c.placement);
  o.scheduler = static_cast<Scheduler>(c.scheduler);
  o.isolation = static_cast<Isolation>(c.isolation);
  o.swap_io = static_cast<SwapIo>(c.swap_io);
  o.management = static_cast<Management>(c.management);
  return o;
}

Result<HostChange> to_change(const vmm_host_change& c) {
  constexpr auto kKnown = (VMM_HOST_SHARE_RATE_MAX << 1) - 1;
  if (auto r = check_set("HostChange", c.set, kKnown); !r) return tl::unexpected(r.error());
  if (auto r = check_flag("HostChange::rebalance", c.rebalance); !r) return tl::unexpected(r.error());
  if (auto r = check_unused("vmm_host_change: unused", static_cast<std::uint32_t>(c.unused)); !r)
    return tl::unexpected(r.error());
  HostChange o;
  change_if(c.set, VMM_HOST_MEMORY, o.memory, c.memory);
  change_if(c.set, VMM_HOST_MIN_FREE, o.min_free, c.min_free);
  change_if(c.set, VMM_HOST_MEMORY_LADDER, o.memory_ladder, c.memory_ladder);
  change_if(c.set, VMM_HOST_BALANCE_PERIOD, o.balance_period, c.balance_period_ms);
  change_if(c.set, VMM_HOST_IDLE_TAX, o.idle_tax, c.idle_tax);
  change_if(c.set, VMM_HOST_SAMPLE_PAGES, o.sample_pages, c.sample_pages);
  change_if(c.set, VMM_HOST_SAMPLE_PERIOD, o.sample_period, c.sample_period_ms);
  change_if(c.set, VMM_HOST_BALLOON_MAX_PERCENT, o.balloon_max_percent, c.balloon_max_percent);
  change_if(c.set, VMM_HOST_BALLOON_TIMEOUT, o.balloon_timeout, c.balloon_timeout_ms);
  change_if(c.set, VMM_HOST_STOP_TIMEOUT, o.stop_timeout, c.stop_timeout_ms);
  change_if(c.set, VMM_HOST_REBALANCE, o.rebalance, c.rebalance);
  change_if(c.set, VMM_HOST_MIGRATION_RATE_MAX, o.migration_rate_max, c.migration_rate_max);
  change_if(c.set, VMM_HOST_SHARE_SCAN_GHZ, o.share_scan_ghz, c.share_scan_ghz);
  change_if(c.set, VMM_HOST_SHARE_SCAN_TIME, o.share_scan_time, c.share_scan_time_ms);
  change_if(c.set, VMM_HOST_SHARE_RATE_MAX, o.share_rate_max, c.share_rate_max);
  return o;
}

Result<GuestOptions> to_options(const vmm_guest_options& c) {
  if (auto r = check_set("GuestOptions", c.set, VMM_GUEST_IDLE_TAX | VMM_GUEST_BALLOON_MAX); !r)
    return tl::unexpected(r.error());
  if (auto r = check_flags({{"GuestOptions::rebalance", c.rebalance},
                            {"GuestOptions::bind_memory", c.bind_memory},
                            {"GuestOptions::large_pages", c.large_pages},
                            {"GuestOptions::page_sharing", c.page_sharing},
                            {"GuestOptions::core_dump", c.core_dump}});
      !r)
    return tl::unexpected(r.error());
  if (auto r = check_unused("vmm_guest_options: unused", c.unused); !r) return tl::unexpected(r.error());
  auto nodes = nodes_of(c.node_affinity, c.node_affinity_count);
  if (!nodes) return tl::unexpected(nodes.error());
  GuestOptions o;
  o.name = text_of(c.name);
  o.memory = c.memory;
  o.reservation = c.reservation;
  o.limit = c.limit;
  o.shares = shares_of(c.shares);
  if (c.pool != nullptr) o.pool = c.pool;
  change_if(c.set, VMM_GUEST_IDLE_TAX, o.idle_tax, c.idle_tax);
  change_if(c.set, VMM_GUEST_BALLOON_MAX, o.balloon_max, c.balloon_max);
  o.swap_directory = text_of(c.swap_directory);
  o.share_salt = text_of(c.share_salt);
  o.node_affinity = std::move(*nodes);
  o.rebalance = c.rebalance != 0;
  o.bind_memory = c.bind_memory != 0;
  o.large_pages = c.large_pages != 0;
  o.page_sharing = c.page_sharing != 0;
  o.core_dump = c.core_dump != 0;
  return o;
}

Result<GuestChange> to_change(const vmm_guest_change& c) {
  constexpr auto kKnown = (VMM_GUEST_REBALANCE << 1) - 1;
  if (auto r = check_set("GuestChange", c.set, kKnown); !r) return tl::unexpected(r.error());
  if (auto r = check_flag("GuestChange::rebalance", c.rebalance); !r) return tl::unexpected(r.error());
  if (auto r = check_unused("vmm_guest_change: unused", c.unused); !r) return tl::unexpected(r.error());
  GuestChange o;
  if ((c.set & VMM_GUEST_SHARES) != 0) o.shares = shares_of(c.shares);
  change_if(c.set, VMM_GUEST_RESERVATION, o.reservation, c.reservation);
  change_if(c.set, VMM_GUEST_LIMIT, o.limit, c.limit);
  if ((c.set & VMM_GUEST_POOL) != 0) o.pool = c.pool == nullptr ? "/" : c.pool;
  change_if(c.set, VMM_GUEST_IDLE_TAX, o.idle_tax, c.idle_tax);
  change_if(c.set, VMM_GUEST_BALLOON_MAX, o.balloon_max, c.balloon_max);
  if ((c.set & VMM_GUEST_NODE_AFFINITY) != 0) {
    auto nodes = nodes_of(c.node_affinity, c.node_affinity_count);
    if (!nodes) return tl::unexpected(nodes.error());
    o.node_affinity = std::move(*nodes);
  }
  change_if(c.set, VMM_GUEST_REBALANCE, o.rebalance, c.rebalance);
  return o;
}

Result<PoolOptions> to_options(const vmm_pool_options& c) {
  if (auto r = check_flag("PoolOptions::expandable_reservation", c.expandable_reservation); !r)
    return tl::unexpected(r.error());
  if (auto r = check_unused("vmm_pool_options: unused", c.unused); !r) return tl::unexpected(r.error());
  PoolOptions o;
  o.shares = shares_of(c.shares);
  o.reservation = c.reservation;
  o.limit = c.limit;
  o.expandable_reservation = c.expandable_reservation != 0;
  return o;
}

Result<PoolChange> to_change(const vmm_pool_change& c) {
  constexpr auto kKnown = (VMM_POOL_EXPANDABLE_RESERVATION << 1) - 1;
  if (auto r = check_set("PoolChange", c.set, kKnown); !r) return tl::unexpected(r.error());
  if (auto r = check_flag("PoolChange::expandable_reservation", c.expandable_reservation); !r)
    return tl::unexpected(r.error());
  if (auto r = check_unused("vmm_pool_change: unused", c.unused); !r) return tl::unexpected(r.error());
  PoolChange o;
  if ((c.set & VMM_POOL_SHARES) != 0) o.shares = shares_of(c.shares);
  change_if(c.set, VMM_POOL_RESERVATION, o.reservation, c.reservation);
  change_if(c.set, VMM_POOL_LIMIT, o.limit, c.limit);
  change_if(c.set, VMM_POOL_EXPANDABLE_RESERVATION, o.expandable_reservation, c.expandable_reservation);
  return o;
}

}  // namespace vmm::host::c

namespace c = vmm::host::c;

int vmm_host_options_init(vmm_host_options* options, size_t size) noexcept {
  return c::init("vmm_host_options", options, size, c::default_host_options());
}
int vmm_host_change_init(vmm_host_change* change, size_t size) noexcept {
  return c::init("vmm_host_change", change, size, vmm_host_change{});
}
int vmm_guest_options_init(vmm_guest_options* options, size_t size) noexcept {
  return c::init("vmm_guest_options", options, size, c::default_guest_options());
}
int vmm_guest_change_init(vmm_guest_change* change, size_t size) noexcept {
  return c::init("vmm_guest_change", change, size, vmm_guest_change{});
}
int vmm_pool_options_init(vmm_pool_options* options, size_t size) noexcept {
  return c::init("vmm_pool_options", options, size, c::default_pool_options());
}
int vmm_pool_change_init(vmm_pool_change* change, size_t size) noexcept {
  return c::init("vmm_pool_change", change, size, vmm_pool_change{});
}
