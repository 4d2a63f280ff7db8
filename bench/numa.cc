// What homes are worth on a machine of several nodes: a guest's accesses to memory on its home and elsewhere, and
// before, while and after it is given another home; and the demonstration's throughput with the home-node scheduler and
// without.
#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "comparisons.h"
#include "os/affinity.h"
#include "support/hosts.h"
#include "support/measure.h"
#include "support/memory.h"
#include "tenant.h"
#include "topology/topology.h"

namespace vmm::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kBytes = 256 * MiB;
constexpr std::uint64_t kLine = 64;
constexpr int kTurns = 9;

// A chain through all lines of the memory in random order: each load must wait for the one before.
void chain(std::span<std::byte> memory) {
  const auto order = shuffled(memory.size() / kLine, 7);
  for (std::size_t i = 0; i < order.size(); ++i)
    *reinterpret_cast<std::uint64_t*>(memory.data() + order[i] * kLine) = order[(i + 1) % order.size()] * kLine;
}
// Nanoseconds a load takes.
double latency(std::span<std::byte> memory, std::uint64_t& at) {
  constexpr std::uint64_t kLoads = 300'000;
  const double s = seconds([&] {
    for (std::uint64_t i = 0; i < kLoads; ++i) at = *reinterpret_cast<const std::uint64_t*>(memory.data() + at);
  });
  return s / kLoads * 1e9;
}
// GB/s of reading in order.
double bandwidth(std::span<std::byte> memory) {
  std::uint64_t sum = 0;
  const double s = seconds([&] {
    const auto* words = reinterpret_cast<const std::uint64_t*>(memory.data());
    for (std::uint64_t i = 0; i < memory.size() / 8; i += 8)
      for (std::uint64_t k = 0; k < 8; ++k) sum += words[i + k];
  });
  benchmark::DoNotOptimize(sum);
  return static_cast<double>(memory.size()) / 1e9 / s;
}

struct Access {
  Samples latency, bandwidth;
  void look(std::span<std::byte> memory, std::uint64_t& at) {
    latency.add(bench::latency(memory, at));
    bandwidth.add(bench::bandwidth(memory));
  }
};

HostOptions host_of(const Settings& settings, std::uint64_t memory) {
  HostOptions o;
  o.memory = memory;
  o.swap_directory = settings.directory;
  return o;
}

void measure_accesses(const Settings& settings, const std::vector<const topology::Node*>& homes, Report& report) {
  auto host = make_host(host_of(settings, 2 * kBytes));
  GuestOptions o;
  o.name = "bench";
  o.memory = o.reservation = kBytes;
  o.rebalance = false;
  auto guest = value_of(host.create_guest(o));
  chain(guest.memory());
  const auto first = guest.stats()->home_node;
  const auto* other = homes[0]->id == first ? homes[1] : homes[0];
  std::uint64_t at = 0;
  Access local, remote, during, after;
  {
    const auto seat = value_of(guest.attach_current_thread());
    for (int i = 0; i < kTurns; ++i) local.look(guest.memory(), at);
  }
  const auto own = value_of(os::thread_affinity(0));
  {
    const auto seat = value_of(guest.attach_current_thread(Attach::measure_only));
    value_of(os::set_thread_affinity(0, other->cpus));
    for (int i = 0; i < kTurns; ++i) remote.look(guest.memory(), at);
    value_of(os::set_thread_affinity(0, own));
  }
  const auto seat = value_of(guest.attach_current_thread());
  value_of(guest.rehome(other->id));
  const double begun = now_seconds();
  while (guest.stats()->remote > kBytes / 50 && now_seconds() < begun + 60) during.look(guest.memory(), at);
  const double took = now_seconds() - begun;
  for (int i = 0; i < kTurns; ++i) after.look(guest.memory(), at);
  const auto line = [&](const char* when, const Access& a) {
    if (a.latency.size() == 0) return;
    report.note(text("guest's accesses, %s: latency against local", when), a.latency.median() / local.latency.median(),
                text("%.1f ns a load; %.1f GB/s", a.latency.median(), a.bandwidth.median()));
  };
  line("local", local);
  line("remote", remote);
  line("while it is re-homed", during);
  report.at_most("guest's accesses, after it was re-homed: latency against local",
                 after.latency.median() / local.latency.median(), 1.10,
                 text("%.1f ns a load; %.1f GB/s; 98 %% had followed after %.1f s", after.latency.median(),
                      after.bandwidth.median(), took));
}

// Transactions a second of databases that all begin on one node.
double demonstrate(const Settings& settings, const std::vector<const topology::Node*>& homes, bool rebalance) {
  constexpr std::uint64_t kRows = 24 * MiB;
  auto o = host_of(settings, 0);
  o.rebalance = rebalance;
  auto host = make_host(o);
  std::atomic<bool> stop{false};
  std::vector<Guest> others;
  std::vector<std::unique_ptr<tenants::Tenant>> fleet;
  for (std::size_t i = 0; i < 2 * homes[0]->cpus.size(); ++i) {
    tenants::TenantOptions t;
    t.name = "db-" + std::to_string(i);
    t.workload.bytes = kRows;
    t.workload.seed = i + 1;
    auto tenant = tenants::Tenant::start(host, t, stop);
    if (!tenant) throw std::runtime_error(tenant.error());
    fleet.push_back(std::move(*tenant));
    // Homes are taken in turn: these take those of the other nodes.
    for (std::size_t n = 1; n < homes.size(); ++n) {
      GuestOptions between;
      between.name = t.name + "-" + std::to_string(n);
      between.memory = kPageSize;
      others.push_back(value_of(host.create_guest(between)));
    }
  }
  const auto transactions = [&] {
    return std::accumulate(fleet.begin(), fleet.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const auto& t) { return sum + t->look().transactions; });
  };
  const auto loaded = [&] {
    return std::all_of(fleet.begin(), fleet.end(),
                       [](const auto& t) { return t->look().phase == tenants::Phase::running; });
  };
  while (!loaded()) std::this_thread::sleep_for(10ms);
  std::this_thread::sleep_for(15s);  // seven periods
  const auto before = transactions();
  const double took = seconds([] { std::this_thread::sleep_for(5s); });
  const auto done = transactions() - before;
  stop = true;
  fleet.clear();
  return static_cast<double>(done) / took;
}

}  // namespace

void measure_numa(const Settings& settings, Report& report) {
  const auto topology = value_of(topology::Topology::discover());
  std::vector<const topology::Node*> homes;
  for (const auto& node : topology.nodes())
    if (!node.memory_only) homes.push_back(&node);
  if (homes.size() < 2) {
    report.skipped("guest's accesses: local, remote, re-homed", "this machine has one node with processors");
    report.skipped("demonstration: with the home-node scheduler / without",
                   "this machine has one node with processors");
    return;
  }
  measure_accesses(settings, homes, report);
  Samples ratios;
  double with = 0, without = 0;
  for (int i = 0; i < 3; ++i) {
    without = demonstrate(settings, homes, false);
    with = demonstrate(settings, homes, true);
    ratios.add(with / without);
  }
  report.note("demonstration: with the home-node scheduler / without", ratios.median(),
              text("%.0f against %.0f transactions/s, the last of 3 runs", with, without));
}

}  // namespace vmm::bench
