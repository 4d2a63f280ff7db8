#include "host/options_check.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "os/unix_socket.h"

namespace vmm::host {
namespace {

constexpr std::uint64_t kLeastBudget = 16 * MiB;
// Of which at least so much is left for guests, however many nodes there are: else none ever gets a page.
constexpr std::uint64_t kLeastForGuests = 4 * MiB;

std::string field(const char* name, const std::string& value) { return std::string(name) + " = " + value; }
std::string field(const char* name, std::uint64_t value) { return field(name, std::to_string(value)); }

constexpr std::uint32_t kMostSampled = 10'000;
// It is part of every line of metrics, and of the first line of requests.
constexpr std::size_t kMostNameBytes = 255;

Result<void> check_tax(const std::string& name, double tax) {
  if (tax >= 0 && tax <= 0.99) return {};
  return base::invalid(field(name.c_str(), std::to_string(tax)), "give a share from 0 (shares alone) to 0.99");
}

// A value that is none of the enumeration's would be taken for the default somewhere and for nothing elsewhere.
template <typename Enum>
Result<void> check_enum(const char* name, Enum value, Enum last, const char* values) {
  const auto number = static_cast<long long>(value);
  if (number >= 0 && number <= static_cast<long long>(last)) return {};
  return base::invalid(field(name, std::to_string(number)), std::string("give ") + values);
}

Result<void> check_enums(const HostOptions& o) {
  for (const auto& r :
       {check_enum("HostOptions::placement", o.placement, InitialPlacement::load_and_distance,
                   "round_robin or load_and_distance"),
        check_enum("HostOptions::memory_ladder", o.memory_ladder, MemoryLadder::sliding, "classic or sliding"),
        check_enum("HostOptions::scheduler", o.scheduler, Scheduler::manual, "automatic or manual"),
        check_enum("HostOptions::isolation", o.isolation, Isolation::write_protect, "automatic, move or write_protect"),
        check_enum("HostOptions::swap_io", o.swap_io, SwapIo::threads, "automatic, io_uring or threads"),
        check_enum("HostOptions::management", o.management, Management::at_creation,
                   "automatic, on_demand or at_creation")})
    if (!r) return r;
  return {};
}

Result<void> check_rebalance(const HostOptions& o) {
  const struct {
    const char* name;
    double value, most;
    const char* remedy;
  } figures[] = {{"HostOptions::rebalance_imbalance", o.rebalance_imbalance, 1, "give a share from 0 to 1"},
                 {"HostOptions::rebalance_improvement", o.rebalance_improvement, 1, "give a share from 0 to 1"},
                 {"HostOptions::rebalance_locality_weight", o.rebalance_locality_weight, 100, "give 0 to 100"},
                 {"HostOptions::migration_rate_max", o.migration_rate_max, 1e9, "give MB/s, or 0 for no bound"}};
  for (const auto& f : figures)
    if (!(f.value >= 0 && f.value <= f.most)) return base::invalid(field(f.name, std::to_string(f.value)), f.remedy);
  if (o.rebalance_swap_interval < 1)
    return base::invalid(field("HostOptions::rebalance_swap_interval", o.rebalance_swap_interval),
                         "give at least 1 period, or set rebalance_swap to false");
  return {};
}

Result<void> check_stats_socket(const HostOptions& o) {
  const auto& path = o.stats_socket;
  const auto quoted = "\"" + path + "\"";
  if (path.empty()) {
    if (!o.stats_control) return {};
    return base::invalid(field("HostOptions::stats_control", "true") + " without a stats_socket",
                         "give stats_socket a path, or leave stats_control false");
  }
  if (path.front() != '/')
    return base::invalid(field("HostOptions::stats_socket", quoted), "give an absolute path, as \"/run/me/host.vmm\"");
  if (path.find('\0') != std::string::npos)
    return base::invalid(field("HostOptions::stats_socket", quoted), "a path has no byte 0");
  if (path.size() > os::kMostSocketPath)
    return base::invalid(field("HostOptions::stats_socket", quoted) + ", " + std::to_string(path.size()) + " bytes",
                         "give a path of at most " + std::to_string(os::kMostSocketPath) + " bytes");
  return {};
}

// What is missing, with what probe() found, and what would give it.
struct Lack {
  std::string what, remedy;
};

Lack lack_of(const Capabilities& caps, const char* name) {
  const auto* item = caps.find(name);
  if (item == nullptr) return {std::string(name) + " is missing", "see probe()"};
  return {item->name + " is missing: " + item->detail, item->remedy};
}

// Where the level is none.
Lack lack_of_management(const Capabilities& caps) {
  return lack_of(caps, caps.has("userfaultfd") ? "uffd_write_protect" : "userfaultfd");
}

}  // namespace

Result<void> check_host_options(const HostOptions& o, std::uint64_t budget, std::uint64_t buffers,
                                const Capabilities& caps) {
  const auto least = std::max(kLeastBudget, buffers + kLeastForGuests);
  if (budget < least)
    return base::invalid(field("HostOptions::memory", budget),
                         "give at least " + std::to_string(least) + " bytes, of which the nodes' buffers take " +
                             base::bytes_text(buffers) + ", or 0 for what the machine allows");
  if (o.swap_in_batch_pages < 1 || o.swap_in_batch_pages > 64)
    return base::invalid(field("HostOptions::swap_in_batch_pages", o.swap_in_batch_pages), "give 1 to 64");
  if (o.swap_async_write_pages < 1 || o.swap_async_write_pages > 64)
    return base::invalid(field("HostOptions::swap_async_write_pages", o.swap_async_write_pages), "give 1 to 64");
  if (!(o.min_free >= 0 && o.min_free <= 0.5))
    return base::invalid(field("HostOptions::min_free", std::to_string(o.min_free)), "give a share from 0 to 0.5");
  const struct {
    const char* name;
    std::chrono::milliseconds value;
    int least;  // ms
  } times[] = {{"HostOptions::rebalance_period", o.rebalance_period, 1},
               {"HostOptions::rebalance_cool_down", o.rebalance_cool_down, 0},
               {"HostOptions::watchdog_timeout", o.watchdog_timeout, 1},
               {"HostOptions::swap_retry_timeout", o.swap_retry_timeout, 0},
               {"HostOptions::balance_period", o.balance_period, 1},
               {"HostOptions::sample_period", o.sample_period, 10},
               {"HostOptions::balloon_timeout", o.balloon_timeout, 1},
               {"HostOptions::stop_timeout", o.stop_timeout, 0},
               {"HostOptions::share_scan_time", o.share_scan_time, 1000}};
  for (const auto& t : times)
    if (t.value.count() < t.least)
      return base::invalid(field(t.name, std::to_string(t.value.count()) + " ms"),
                           t.least == 0 ? "give 0 or more" : "give at least " + std::to_string(t.least) + " ms");
  if (auto r = check_enums(o); !r) return r;
  if (auto r = check_tax("HostOptions::idle_tax", o.idle_tax); !r) return r;
  if (auto r = check_rebalance(o); !r) return r;
  if (auto r = check_stats_socket(o); !r) return r;
  if (!(o.share_scan_ghz >= 0 && o.share_scan_ghz <= 1000))
    return base::invalid(field("HostOptions::share_scan_ghz", std::to_string(o.share_scan_ghz)),
                         "give MB/s for each GHz, up to 1000, or 0 to share no pages");
  if (o.share_rate_max < 1)
    return base::invalid(field("HostOptions::share_rate_max", o.share_rate_max),
                         "give at least 1 page a second, or set share_scan_ghz to 0");
  if (o.sample_pages > kMostSampled)
    return base::invalid(field("HostOptions::sample_pages", o.sample_pages),
                         "give at most " + std::to_string(kMostSampled) + ", or 0 for none");
  if (o.balloon_max_percent > 95)
    return base::invalid(field("HostOptions::balloon_max_percent", o.balloon_max_percent),
                         "give 0 (no ballooning) to 95");
  const auto needs = [&](const char* capability, const std::string& option) -> Result<void> {
    if (caps.has(capability)) return {};
    const auto lack = lack_of(caps, capability);
    return base::fail(Errc::not_supported, option + ": " + lack.what, lack.remedy);
  };
  if (o.management == Management::at_creation)
    if (auto r = check_manageable("HostOptions::management = at_creation", caps); !r) return r;
  if (o.isolation == Isolation::move) {
    if (auto r = check_manageable("HostOptions::isolation = move", caps); !r) return r;
    for (const char* c : {"uffdio_move", "wp_async", "pagemap_scan"})
      if (auto r = needs(c, "HostOptions::isolation = move"); !r) return r;
  }
  if (o.isolation == Isolation::write_protect)
    if (auto r = check_manageable("HostOptions::isolation = write_protect", caps); !r) return r;
  if (o.swap_io == SwapIo::io_uring)
    if (auto r = needs("io_uring", "HostOptions::swap_io = io_uring"); !r) return r;
  return {};
}

Result<void> check_guest_options(const GuestOptions& o, const topology::Topology& topology) {
  if (o.name.empty()) return base::invalid(field("GuestOptions::name", "\"\""), "give the guest a name");
  if (o.name.find('/') != std::string::npos)
    return base::invalid(field("GuestOptions::name", "\"" + o.name + "\""), "a name has no '/'");
  if (o.name.size() > kMostNameBytes)
    return base::invalid("GuestOptions::name of " + std::to_string(o.name.size()) + " bytes, which begins \"" +
                             o.name.substr(0, 32) + "\"",
                         "at most " + std::to_string(kMostNameBytes) + " bytes");
  const auto who = "guest \"" + o.name + "\": ";
  if (o.memory == 0)
    return base::invalid(who + field("GuestOptions::memory", o.memory), "give at least one page, 4096 bytes");
  if (o.memory % kPageSize != 0)
    return base::invalid(who + field("GuestOptions::memory", o.memory), "give a multiple of 4096");
  if (o.memory > (std::uint64_t{1} << 46))
    return base::invalid(who + field("GuestOptions::memory", o.memory), "at most 64 TiB");
  if (o.reservation > o.memory)
    return base::invalid(who + field("GuestOptions::reservation", o.reservation),
                         "at most the guest's memory, " + std::to_string(o.memory));
  if (o.reservation % kPageSize != 0)
    return base::invalid(who + field("GuestOptions::reservation", o.reservation), "give a multiple of 4096");
  if (o.limit % kPageSize != 0)
    return base::invalid(who + field("GuestOptions::limit", o.limit), "give a multiple of 4096, or 0 for none");
  if (o.limit != 0 && o.limit < o.reservation)
    return base::invalid(who + field("GuestOptions::limit", o.limit),
                         "at least the reservation, " + std::to_string(o.reservation));
  if (o.limit != 0 && o.limit < kHugePageSize)
    return base::invalid(who + field("GuestOptions::limit", o.limit), "at least 2097152 (2 MiB), or 0 for none");
  if (o.shares.of(o.memory) == 0)
    return base::invalid(who + field("GuestOptions::shares", "custom(0)"), "give at least 1 share");
  if (o.balloon_max.value_or(0) % kPageSize != 0)
    return base::invalid(who + field("GuestOptions::balloon_max", *o.balloon_max),
                         "give a multiple of 4096, or 0 for no balloon");
  if (o.idle_tax)
    if (auto r = check_tax(who + "GuestOptions::idle_tax", *o.idle_tax); !r) return r;
  for (const int node : o.node_affinity)
    if (auto r = check_home_node(who + "GuestOptions::node_affinity", node, topology); !r) return r;
  return {};
}

Result<void> check_home_node(const std::string& what, int node, const topology::Topology& topology) {
  const auto* n = topology.find(node);
  if (n == nullptr) {
    std::vector<int> ids;
    for (const auto& existing : topology.nodes()) ids.push_back(existing.id);
    return base::fail_errno(ENODEV, field(what.c_str(), std::to_string(node)),
                            "this process may use nodes " + base::list_text(ids));
  }
  if (n->memory_only)
    return base::fail_errno(ENODEV, field(what.c_str(), std::to_string(node)),
                            "the node has no processors and cannot be a home node");
  return {};
}

Result<void> check_pool_options(const std::string& path, const PoolOptions& o) {
  const auto who = "pool \"" + path + "\": ";
  const bool well_formed =
      path.size() > 1 && path.front() == '/' && path.back() != '/' && path.find("//") == std::string::npos;
  if (!well_formed) return base::invalid("pool \"" + path + "\"", "give a path as \"/production\" or \"/a/b\"");
  if (o.reservation % kPageSize != 0)
    return base::invalid(who + field("PoolOptions::reservation", o.reservation), "give a multiple of 4096");
  if (o.limit % kPageSize != 0)
    return base::invalid(who + field("PoolOptions::limit", o.limit), "give a multiple of 4096, or 0 for none");
  if (o.limit != 0 && o.limit < kHugePageSize)
    return base::invalid(who + field("PoolOptions::limit", o.limit), "at least 2097152 (2 MiB), or 0 for none");
  if (o.limit != 0 && o.limit < o.reservation)
    return base::invalid(who + field("PoolOptions::limit", o.limit),
                         "at least the reservation, " + std::to_string(o.reservation));
  if (o.shares.of(0) == 0)
    return base::invalid(who + field("PoolOptions::shares", "custom(0)"), "give at least 1 share");
  return {};
}

Result<void> check_manageable(const std::string& what, const Capabilities& caps) {
  if (caps.level != CapabilityLevel::none) return {};
  const auto lack = lack_of_management(caps);
  return base::fail(Errc::not_supported, what + ": " + lack.what, lack.remedy);
}

Result<void> check_fits(const GuestOptions& o, std::uint64_t budget, std::uint64_t guest_memory,
                        const Capabilities& caps) {
  if (guest_memory + o.memory <= budget) return {};
  const auto lack = lack_of_management(caps);
  return base::fail(Errc::admission_refused,
                    "guest \"" + o.name + "\": " + field("GuestOptions::memory", o.memory) + ": " +
                        base::bytes_text(budget - std::min(budget, guest_memory)) +
                        " are left, and nothing can be reclaimed: " + lack.what,
                    "lower the memory, or: " + lack.remedy);
}

}  // namespace vmm::host
