#include "stress/world.h"

#include <chrono>
#include <cstdio>
#include <set>
#include <thread>

#include "host/node_runtime.h"
#include "reclaim/swap_store.h"
#include "stress/peek.h"
#include "stress/report.h"
#include "topology/topology.h"

namespace vmm::stress {
namespace {

// ThreadSanitizer's shadow takes several times the guests' size, and everything is slower.
#if defined(__SANITIZE_THREAD__)
constexpr std::uint64_t kShrink = 2;
#else
constexpr std::uint64_t kShrink = 1;
#endif

struct Plan {
  const char* name;
  std::uint64_t memory, reservation, limit;  // MiB
  std::uint64_t odd_pages;                   // beyond `memory`: a guest that ends in the middle of a run
  bool large_pages, long_lived;
};
constexpr Plan kPlans[] = {
    {"plain", 32, 0, 0, 0, true, true},     {"small-pages", 32, 0, 0, 0, false, true},
    {"reserved", 40, 10, 0, 0, true, true}, {"limited", 48, 0, 20, 0, true, true},
    {"odd", 27, 0, 0, 3, true, true},       {"small-odd", 24, 2, 0, 77, false, true},
    {"brief-a", 12, 0, 0, 1, true, false},  {"brief-b", 6, 0, 0, 0, false, false},
};

// The machine, or two nodes of one processor each.
Result<topology::Topology> topology_here(bool made_up) {
  return made_up ? topology::Topology::synthetic("node:2 core:1 pu:1") : topology::Topology::discover();
}

// Waits until `done`; false after half a minute.
template <class Done>
bool reached(Done done) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace

std::atomic<std::uint64_t> World::next_id_{1};

bool World::makes_up_nodes() {
  const auto topology = topology::Topology::discover();
  if (!topology || topology->nodes().size() != 1) return false;
  const auto& cpus = topology->nodes().front().cpus;
  return cpus.size() >= 2 && cpus[0] == 0 && cpus[1] == 1;
}

Result<std::unique_ptr<World>> World::build(const WorldOptions& options) {
  std::unique_ptr<World> world(new World(options));
  std::uint64_t total = 0;
  for (const auto& plan : kPlans) {
    auto place = std::make_unique<Place>();
    place->options.name = plan.name;
    const auto shrunk = [&](std::uint64_t mib) {
      return mib * MiB / kShrink / options.shrink / kPageSize * kPageSize;
    };
    place->options.memory = shrunk(plan.memory) + plan.odd_pages * kPageSize;
    place->options.reservation = shrunk(plan.reservation);
    place->options.limit = shrunk(plan.limit);
    place->options.large_pages = plan.large_pages;
    place->options.share_salt = "stress";
    place->long_lived = plan.long_lived;
    total += place->options.memory;
    world->places_.push_back(std::move(place));
  }
  const auto topology = topology_here(makes_up_nodes());
  if (!topology) return tl::unexpected(topology.error());
  // The buffers of many nodes would leave the guests next to nothing.
  const auto buffers = topology->nodes().size() * host::NodeRuntime::overhead_pages() * kPageSize;
  HostOptions host;
  world->budget_ = host.memory = (total / 2 + (topology->nodes().size() > 2 ? buffers : 0)) / kPageSize * kPageSize;
  host.swap_directory = options.swap_directory;
  host.isolation = options.isolation;
  host.swap_io = options.swap_io;
  host.management = options.management;
  // Short, so that a run sees many of each.
  host.balance_period = std::chrono::milliseconds(100);
  host.sample_period = std::chrono::milliseconds(80);
  host.sample_pages = 40;
  host.balloon_timeout = std::chrono::milliseconds(100);
  host.stop_timeout = std::chrono::milliseconds(20);
  host.rebalance_period = std::chrono::milliseconds(200);
  host.rebalance_cool_down = std::chrono::milliseconds(500);
  if (options.share) {
    host.share_scan_ghz = 1000;
    host.share_scan_time = std::chrono::seconds(1);
    host.share_rate_max = 1'000'000;
  }
  auto made = HostCore::create(host, *topology);
  if (!made) return tl::unexpected(made.error());
  world->host_ = host_of(std::move(*made));
  auto* self = world.get();
  world->host_.on_event([self](const Event& event) { self->saw(event); });
  for (const char* pool : kPools)
    if (auto r = world->host_.create_pool(pool, {}); !r) return tl::unexpected(r.error());
  if (auto r = world->host_.configure_pool(kPools[1], {.limit = world->budget_ / 3 / kPageSize * kPageSize}); !r)
    return tl::unexpected(r.error());
  for (auto& place : world->places_) {
    if (!place->long_lived) continue;
    auto guest = world->host_.create_guest(place->options);
    if (!guest) return tl::unexpected(guest.error());
    place->tenant = std::make_unique<Tenant>(std::move(*guest), next_id_++, place->options.name);
    place->tenant->give_balloon(options.seed);
  }
  return world;
}

World::~World() {
  for (auto& place : places_) place->tenant.reset();
}

void World::saw(const Event& event) {
  ++events_.seen;
  switch (event.kind) {
    case EventKind::memory_exhausted: ++events_.exhausted; break;
    case EventKind::reclaimed:
      if (event.guest.empty() || event.bytes == 0 || event.bytes % kPageSize != 0 || event.reason.empty() ||
          (event.mechanism != "swap" && event.mechanism != "balloon"))
        report_failure("event of reclaim of " + std::to_string(event.bytes) + " bytes of guest \"" + event.guest +
                       "\", mechanism \"" + event.mechanism + "\", reason \"" + event.reason + "\"");
      break;
    case EventKind::fault_stalled:
      ++events_.stalled;
      std::fprintf(stderr, "event %s, guest \"%s\": %s\n", to_string(event.kind), event.guest.c_str(),
                   event.reason.c_str());
      break;
    case EventKind::swap_read_failed:
    case EventKind::swap_write_failed:
    case EventKind::not_reclaimable:
      report_failure(std::string("event ") + to_string(event.kind) + " of guest \"" + event.guest +
                     "\": " + event.reason);
    default: break;
  }
}

void World::create(Place& place, base::Random& random) {
  const auto id = next_id_++;
  auto options = place.options;
  options.name += "." + std::to_string(id);
  options.memory = (1 + random.below(options.memory / kPageSize)) * kPageSize;
  if (random.below(3) == 0) options.reservation = random.below(options.memory / kPageSize / 4 + 1) * kPageSize;
  if (random.below(3) == 0)
    options.limit = options.reservation + 2 * MiB + random.below(options.memory) / kPageSize * kPageSize;
  options.large_pages = random.below(2) == 0;
  if (random.below(3) == 0) options.pool = kPools[random.below(std::size(kPools))];
  auto guest = host_.create_guest(options);
  if (!guest) {
    if (guest.error().code != Errc::admission_refused) report_failure(guest.error().message());
    return;
  }
  place.tenant = std::make_unique<Tenant>(std::move(*guest), id, options.name);
  if (random.below(2) == 0) place.tenant->give_balloon(random.next());
}

void World::leave_seat(Seat seat) {
  std::lock_guard lock(seats_mutex_);
  seats_.push_back(std::move(seat));
}

void World::settle() {
  const Actor who{kMostThreads, 0, Op::compare};
  const auto look = [&](const Tenant& tenant, std::uint64_t page) {
    settling_.store(reinterpret_cast<std::uintptr_t>(tenant.at(page)), std::memory_order_relaxed);
    const SharedPages lock(const_cast<Tenant&>(tenant), page, 1);  // a balloon may be giving it up
    tenant.compare(who, page);
  };
  for (auto& place : places_)
    for (std::uint64_t page = 0; place->tenant && page < place->tenant->pages(); ++page) look(*place->tenant, page);
  {
    std::lock_guard lock(seats_mutex_);
    seats_.clear();
  }
  std::set<const host::NodeRuntime*> nodes;
  for (auto& place : places_) {
    if (!place->tenant) continue;
    auto& tenant = *place->tenant;
    nodes.insert(&core_of(tenant.guest())->node());
    if (auto r = tenant.guest().set_balloon(nullptr); !r) report_failure(r.error().message());
    if (auto r = tenant.guest().discard(0, tenant.pages() * kPageSize); !r) report_failure(r.error().message());
    const auto& memory = memory_of(tenant.guest());
    const auto& c = memory.counters;
    const auto& slots = reclaim::SwapStore::of(memory).slots;
    if (!reached([&] {
          return c.resident == 0 && c.staging == 0 && c.swapped == 0 && c.pinned == 0 && c.ballooned == 0 &&
                 c.shared == 0 && slots.in_use() == 0;
        }))
      report_failure("guest \"" + tenant.name() + "\", all discarded, still has pages: resident " +
                     std::to_string(c.resident) + ", staging " + std::to_string(c.staging) + ", swapped " +
                     std::to_string(c.swapped) + ", pinned " + std::to_string(c.pinned) + ", shared " +
                     std::to_string(c.shared) + ", slots " +
                     std::to_string(slots.in_use()));
    for (std::uint64_t page = 0; page < tenant.pages(); ++page) tenant.set_zero(page);
    // Every seventh run: enough to see it, and little memory.
    for (std::uint64_t page = 0; page < tenant.pages(); page += 7 * 64) look(tenant, page);
    place->tenant.reset();
  }
  settling_ = 0;
  // Huge pages zeroed ahead may be kept; all else is the library's overhead.
  HostStats stats;
  std::uint64_t ahead = 0;
  const auto back = [&] {
    stats = *host_.stats();
    ahead = 0;
    for (const auto* node : nodes)
      if (node->zero_pool != nullptr) ahead += node->zero_pool->ready() * kHugePageSize;
    return stats.consumed == stats.overhead + ahead;
  };
  if (!reached(back) || stats.swapped != 0 || !stats.guests.empty())
    report_failure("without guests the host still consumes " + std::to_string(stats.consumed) + " bytes, " +
                   std::to_string(stats.overhead) + " of it overhead and " + std::to_string(ahead) +
                   " zeroed ahead; swapped " + std::to_string(stats.swapped));
}

}  // namespace vmm::stress
