// sqlite_tenants: SQLite databases in guests that are together larger than the host's memory.
// Each database lives in its guest's memory (MemoryVfs), is loaded and worked on by a thread of its own
// (Tenant, Workload); two pools divide the memory (make_pools). All of them hold the same reference rows, whose pages
// the host finds to be equal, and shows one copy of. Each database is compared at the end with the same operations done
// on ordinary memory (replay).

#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

#include "options.h"
#include "pools.h"
#include "table.h"
#include "tenant.h"
#include "vmm/vmm.h"

namespace tenants {
namespace {

using Clock = std::chrono::steady_clock;

// The tenants are one company's: what they hold alike is no secret.
constexpr const char* kSalt = "reference";
// With these share_scan_ghz is the bound that counts. The defaults are for guests that live for hours.
constexpr auto kScanTime = std::chrono::seconds(5);
constexpr std::uint32_t kScanRate = 1U << 16;  // pages a second

std::atomic<bool> g_stop{false};
static_assert(std::atomic<bool>::is_always_lock_free, "written by a signal handler");

extern "C" void on_interrupt(int) { g_stop.store(true, std::memory_order_relaxed); }

// What a thread gets that touches a page whose swap file could not be read.
extern "C" void on_lost_page(int) {
  static constexpr char kText[] =
      "sqlite_tenants: SIGBUS: a page of a guest is lost, its swap file could not be read\n";
  if (write(STDERR_FILENO, kText, sizeof(kText) - 1) < 0) _exit(2);
  _exit(1);
}

// The first Ctrl-C stops the transactions; the handler is gone then, so that the second ends the process.
void catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = on_lost_page;
  sigaction(SIGBUS, &action, nullptr);
}

// What the host reports beyond its ordinary work and beyond being overcommitted, which is the point here.
// Thread-safe.
class Notes {
 public:
  void add(const vmm::Event& event) {
    using Kind = vmm::EventKind;
    const auto ordinary = {Kind::guest_created, Kind::guest_destroyed, Kind::guest_managed,
                           Kind::guest_native,  Kind::reclaimed,       Kind::overcommit_advice,
                           Kind::state_changed, Kind::guest_stopped,   Kind::stop_ended};
    if (std::find(ordinary.begin(), ordinary.end(), event.kind) != ordinary.end()) return;
    const std::lock_guard lock(mutex_);
    if (lines_.size() == kMost) lines_.erase(lines_.begin());
    lines_.push_back(format("%s %s: %s", vmm::to_string(event.kind), event.guest.empty() ? "host" : event.guest.c_str(),
                            event.reason.c_str()));
  }
  std::vector<std::string> latest() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  static constexpr std::size_t kMost = 4;
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;  // protected by mutex_
};

using Tenants = std::vector<std::unique_ptr<Tenant>>;

// Shows the table until every tenant has ended; stops them `seconds` after the last one has loaded. Returns the most
// memory that was saved by sharing, in bytes.
std::uint64_t watch(const Options& options, const vmm::Host& host, const Tenants& tenants, const Notes& notes) {
  LiveTable table(isatty(STDOUT_FILENO) == 1);
  const auto started = Clock::now();
  auto deadline = Clock::time_point::max();
  auto next_table = started + std::chrono::seconds(1);
  std::vector<TenantView> views(tenants.size());
  std::uint64_t saved = 0;
  while (true) {
    std::transform(tenants.begin(), tenants.end(), views.begin(), [](const auto& tenant) { return tenant->look(); });
    const auto any = [&views](Phase phase) {
      return std::any_of(views.begin(), views.end(), [phase](const TenantView& view) { return view.phase == phase; });
    };
    const auto now = Clock::now();
    const bool loading = any(Phase::loading);
    const bool ended = !loading && !any(Phase::running) && !any(Phase::checking);
    if (!loading && deadline == Clock::time_point::max()) deadline = now + std::chrono::seconds(options.seconds);
    if (now >= deadline) g_stop.store(true, std::memory_order_relaxed);
    if (ended || now >= next_table) {
      const auto stats = *host.stats();
      saved = std::max(saved, stats.shared_saved);
      const char* doing = loading ? "loading" : any(Phase::running) ? "running" : ended ? "done" : "checking";
      const auto title =
          format("%s, %.0f s (%s level, swap by %s)", doing, std::chrono::duration<double>(now - started).count(),
                 stats.capability_level.c_str(), stats.swap_io.c_str());
      auto lines = notes.latest();
      for (std::size_t i = 0; i < views.size(); ++i)
        if (views[i].phase == Phase::failed)
          lines.push_back(views[i].guest.name + ": " + tenants[i]->verdict().failure);
      table.draw(title, stats, views, lines);
      next_table += std::chrono::seconds(1);
    }
    if (ended) return saved;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

// Replays every tenant on ordinary memory, as many at a time as there are processors, at most four (each
// takes as much memory as its database). Prints a line for each and returns how many differ.
std::size_t compare(const Tenants& tenants) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::size_t differ = 0;
  const auto replay_some = [&] {
    for (std::size_t i = next++; i < tenants.size(); i = next++) {
      const Verdict& verdict = tenants[i]->verdict();
      std::string result = verdict.failure;
      if (result.empty()) {
        const Verdict reference = replay(tenants[i]->options(), verdict.steps);
        if (!reference.failure.empty())
          result = "the reference failed: " + reference.failure;
        else if (reference.digest != verdict.digest)
          result = format("differs: digest %016" PRIx64 ", reference %016" PRIx64, verdict.digest, reference.digest);
      }
      const std::lock_guard lock(mutex);
      if (!result.empty()) ++differ;
      if (result.empty()) result = format("integrity ok, digest %016" PRIx64 " as the reference's", verdict.digest);
      std::printf("%-10s %6.1f MiB, %8" PRIu64 " transactions: %s\n", tenants[i]->options().name.c_str(),
                  static_cast<double>(verdict.file_bytes) / static_cast<double>(vmm::MiB), verdict.transactions,
                  result.c_str());
      std::fflush(stdout);
    }
  };
  std::vector<std::thread> threads;
  const std::size_t count = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, 4);
  for (std::size_t i = 0; i < std::min(count, tenants.size()); ++i) threads.emplace_back(replay_some);
  for (std::thread& thread : threads) thread.join();
  return differ;
}

Outcome<Tenants> start_all(vmm::Host& host, const Options& options) {
  if (auto made = make_pools(host, options); !made) return fail(made.error());
  Tenants tenants;
  for (std::uint64_t i = 0; i < options.guests; ++i) {
    TenantOptions one;
    one.name = format("db-%" PRIu64, i + 1);
    one.pool = pool_of(options, i);
    one.workload.seed = Random(options.seed * 64 + i).next();
    one.workload.bytes = options.size;
    one.workload.reference = options.reference;
    one.share_salt = kSalt;
    auto tenant = Tenant::start(host, one, g_stop);
    if (!tenant) {
      g_stop.store(true);  // for those that run already
      return fail(tenant.error());
    }
    tenants.push_back(std::move(*tenant));
  }
  return tenants;
}

// The exit status.
Outcome<int> run(const Options& options) {
  vmm::HostOptions host_options;
  host_options.memory = options.budget;
  host_options.swap_directory = options.swap_directory;
  host_options.isolation = options.isolation;
  host_options.swap_io = options.swap_io;
  host_options.share_scan_ghz = options.share_scan_ghz;
  host_options.share_scan_time = kScanTime;
  host_options.share_rate_max = kScanRate;
  host_options.stats_socket = options.stats_socket;
  Notes notes;
  auto host = vmm::Host::create(host_options);
  if (!host && host_options.share_scan_ghz > 0) {
    // Linux below 5.19 cannot share; all else is the same without.
    host_options.share_scan_ghz = 0;
    host = vmm::Host::create(host_options);
  }
  if (!host) return fail(host.error().message());
  host->on_event([&notes](const vmm::Event& event) { notes.add(event); });
  if (host->capabilities().level == vmm::CapabilityLevel::none) {
    const vmm::Capability* missing = host->capabilities().find("userfaultfd");
    return fail("userfaultfd is missing, so no page can leave a guest (" +
                (missing != nullptr ? missing->remedy : std::string("see vmm::probe()")) + ")");
  }

  if (!options.stats_socket.empty())
    std::printf("watch it from another terminal: vmmctl top, or curl --unix-socket %s http://localhost/metrics\n",
                options.stats_socket.c_str());
  catch_signals();
  auto tenants = start_all(*host, options);
  if (!tenants) return fail(tenants.error());
  const std::uint64_t saved = watch(options, *host, *tenants, notes);

  std::uint64_t written = 0, out = 0, in = 0, transactions = 0;
  for (const auto& tenant : *tenants) {
    const TenantView view = tenant->look();
    written += view.file_bytes;
    transactions += tenant->verdict().transactions;
    out += view.guest.swapped_out;
    in += view.guest.swapped_in;
  }
  // The host ends and its guests with it: the reference has the memory to itself.
  *host = vmm::Host();
  std::printf("\nbudget: %.1f %% of %" PRIu64 " MiB in the databases. Replaying %" PRIu64
              " transactions on ordinary memory ...\n",
              100 * static_cast<double>(options.budget) / static_cast<double>(std::max<std::uint64_t>(written, 1)),
              written / vmm::MiB, transactions);
  std::fflush(stdout);
  const std::size_t differ = compare(*tenants);
  std::printf("%zu databases, %zu differ, %" PRIu64 " MiB swapped out, %" PRIu64 " MiB in, up to %" PRIu64
              " MiB saved by sharing\n",
              tenants->size(), differ, out / vmm::MiB, in / vmm::MiB, saved / vmm::MiB);
  return differ > 0 ? 1 : 0;
}

}  // namespace
}  // namespace tenants

int main(int argc, char* argv[]) {
  const auto options = tenants::parse_options(argc, argv);
  if (!options) {
    std::fprintf(stderr, "%s: %s\n", argv[0], options.error().c_str());
    return 2;
  }
  if (options->help) {
    std::fputs(tenants::usage(argv[0]).c_str(), stdout);
    return 0;
  }
  // Before SQLite starts: each connection has one thread, and a shared count of its heap would be contended.
  sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
  sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  const auto status = tenants::run(*options);
  if (!status) std::fprintf(stderr, "%s: %s\n", argv[0], status.error().c_str());
  return status.value_or(2);
}
