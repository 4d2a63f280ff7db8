// The process that `overcommit` measures: tenants of the demonstration, in guests of a host or in plain mappings.
//
// It loads the databases, says "ready", and obeys: "run WARM TIME" runs transactions for so many milliseconds after
// that many to warm up, "check" compares the databases. Each is answered by a line.
#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <sqlite3.h>

#include "comparisons.h"
#include "database.h"
#include "memory_vfs.h"
#include "overcommit_load.h"
#include "support/hosts.h"
#include "support/measure.h"
#include "support/memory.h"
#include "support/memory_cgroup.h"
#include "tenant.h"
#include "workload.h"

namespace vmm::bench {
namespace {

using namespace std::chrono_literals;

// What a tenant that is mostly idle does: a transaction, and then nothing for so long.
constexpr auto kIdlePause = 50ms;

// The default, 6 %, would leave 30 of 512 MiB unused, where the kernel's group is always full.
constexpr double kMinFree = 0.01;

template <class T>
T value_of(tenants::Outcome<T> outcome) {
  if (!outcome) throw std::runtime_error(outcome.error());
  if constexpr (!std::is_void_v<T>) return std::move(*outcome);
}

// Starts and stops the tenants' threads together. Thread-safe.
class Gate {
 public:
  void open(bool opened) {
    const std::lock_guard lock(mutex_);
    opened_.store(opened);
    changed_.notify_all();
  }
  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  void measure(bool on) noexcept { measures_.store(on, std::memory_order_relaxed); }
  bool measures() const noexcept { return measures_.load(std::memory_order_relaxed); }
  bool is_open() const noexcept { return opened_.load(std::memory_order_relaxed); }
  // False: there will be no more transactions.
  bool wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return opened_ || ended_; });
    return !ended_;
  }
  void pause() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kIdlePause, [this] { return !opened_ || ended_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> opened_{false};  // changed under mutex_
  std::atomic<bool> measures_{false};
  bool ended_ = false;  // protected by mutex_
};

// A database, its memory, and the thread that works on it.
class Load {
 public:
  Load(Host* host, const LoadOptions& options, std::size_t number, Gate& gate)
      : workload_options_{tenants::Random(options.seed * 64 + number).next(), options.rows / options.tenants},
        idle_(options.shape == Shape::skewed && number >= options.tenants / 3),
        gate_(gate) {
    const auto name = "db-" + std::to_string(number + 1);
    const auto bytes = tenants::memory_for(workload_options_);
    tenants::MemoryVfs::Discard discard;
    std::span<std::byte> memory;
    if (host != nullptr) {
      GuestOptions guest;
      guest.name = name;
      guest.memory = bytes;
      guest.large_pages = options.pages == Pages::huge;
      guest_ = bench::value_of(host->create_guest(guest));
      memory = guest_.memory();
      discard = [this](std::uint64_t offset, std::uint64_t length) {
        return guest_.discard(offset, length).has_value();
      };
    } else {
      mapping_.emplace(bytes, options.pages);
      memory = mapping_->memory();
      if (options.mergeable) ::madvise(memory.data(), memory.size(), MADV_MERGEABLE);
      discard = [memory](std::uint64_t offset, std::uint64_t length) {
        return ::madvise(memory.data() + offset, length, MADV_DONTNEED) == 0;
      };
    }
    vfs_ = value_of(tenants::MemoryVfs::create(name, memory, std::move(discard)));
    latencies_.reserve(1 << 16);
    thread_ = std::thread([this] { work(); });
  }
  ~Load() { thread_.join(); }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  bool loaded() const noexcept { return loaded_; }
  bool idle() const noexcept { return idle_; }
  bool checked() const noexcept { return checked_; }
  std::uint64_t transactions() const noexcept { return transactions_; }
  std::uint64_t file_bytes() const noexcept { return vfs_->size(); }
  const Guest& guest() const noexcept { return guest_; }
  const tenants::WorkloadOptions& workload_options() const noexcept { return workload_options_; }
  // Once checked().
  const tenants::Verdict& verdict() const noexcept { return verdict_; }
  // Seconds a transaction took. While the gate is closed.
  std::vector<float>& latencies() noexcept { return latencies_; }
  std::mutex& running() noexcept { return running_; }

 private:
  void work() {
    try {
      std::optional<Seat> seat;
      if (guest_) seat = bench::value_of(guest_.attach_current_thread());
      auto database = value_of(tenants::Database::open(*vfs_));
      const auto workload = value_of(tenants::Workload::create(database, workload_options_));
      while (!workload->loaded()) value_of(workload->step());
      loaded_ = true;
      while (gate_.wait()) {
        const std::lock_guard lock(running_);
        while (gate_.is_open()) {
          const double begin = now_seconds();
          value_of(workload->step());
          if (gate_.measures()) latencies_.push_back(static_cast<float>(now_seconds() - begin));
          transactions_.fetch_add(1, std::memory_order_relaxed);
          if (idle_) gate_.pause();
        }
      }
      verdict_.steps = workload->steps();
      value_of(database.check_integrity());
      verdict_.digest = value_of(workload->digest());
    } catch (const std::exception& e) {
      verdict_.failure = e.what();
      loaded_ = true;
    }
    checked_ = true;
  }

  const tenants::WorkloadOptions workload_options_;
  const bool idle_;
  Gate& gate_;
  std::optional<PlainMapping> mapping_;
  Guest guest_;
  std::unique_ptr<tenants::MemoryVfs> vfs_;
  std::mutex running_;  // held by the thread while it runs transactions
  std::vector<float> latencies_;
  std::atomic<std::uint64_t> transactions_{0};
  std::atomic<bool> loaded_{false}, checked_{false};
  tenants::Verdict verdict_;  // the thread's until checked_
  std::thread thread_;
};

using Loads = std::vector<std::unique_ptr<Load>>;

void until(const Loads& loads, bool (Load::*done)() const noexcept) {
  while (!std::all_of(loads.begin(), loads.end(), [done](const auto& l) { return (l.get()->*done)(); }))
    std::this_thread::sleep_for(5ms);
}

void answer(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

// Answers with the transactions, their 99th percentile in microseconds over the active tenants, processor time in
// milliseconds, and for guests: bytes swapped in and written.
void run(const Loads& loads, Gate& gate, std::chrono::milliseconds warm, std::chrono::milliseconds time) {
  const auto sum = [&](auto&& of) {
    std::uint64_t total = 0;
    for (const auto& l : loads) total += of(*l);
    return total;
  };
  const auto transactions = [&] { return sum([](const Load& l) { return l.transactions(); }); };
  const auto in = [&] { return sum([](const Load& l) { return l.guest() ? l.guest().stats()->swapped_in : 0; }); };
  const auto out = [&] { return sum([](const Load& l) { return l.guest() ? l.guest().stats()->swap_written : 0; }); };
  for (const auto& l : loads) l->latencies().clear();
  gate.open(true);
  std::this_thread::sleep_for(warm);
  const auto transactions_before = transactions(), in_before = in(), out_before = out();
  const double begin = now_seconds(), processor_before = cpu_seconds(RUSAGE_SELF);
  gate.measure(true);
  std::this_thread::sleep_for(time);
  const auto done = transactions() - transactions_before;
  const double took = now_seconds() - begin, processor = cpu_seconds(RUSAGE_SELF) - processor_before;
  const auto came = in() - in_before, went = out() - out_before;
  gate.measure(false);
  gate.open(false);
  std::vector<float> latencies;
  for (const auto& l : loads) {
    const std::lock_guard lock(l->running());
    if (!l->idle()) latencies.insert(latencies.end(), l->latencies().begin(), l->latencies().end());
  }
  float p99 = 0;
  if (!latencies.empty()) {
    const auto at = latencies.begin() + static_cast<std::ptrdiff_t>(latencies.size() * 99 / 100);
    std::nth_element(latencies.begin(), at, latencies.end());
    p99 = *at;
  }
  answer(text("done %.1f %.0f %.0f %" PRIu64 " %" PRIu64, static_cast<double>(done) / took,
              static_cast<double>(p99) * 1e6, processor / took * 100, came, went));
}

// Every database is sound, and the first one is what the same steps make of it on memory that is not swapped.
std::string check(const Loads& loads, Gate& gate) {
  gate.end();
  until(loads, &Load::checked);
  for (const auto& l : loads)
    if (!l->verdict().failure.empty()) return l->verdict().failure;
  return text("checked %" PRIu64 " %" PRIu64 " %" PRIu64, loads.front()->workload_options().seed,
              loads.front()->verdict().steps, loads.front()->verdict().digest);
}

}  // namespace

std::vector<std::string> LoadOptions::arguments() const {
  return {std::to_string(budget),
          std::to_string(rows),
          std::to_string(tenants),
          std::to_string(seed),
          to_string(pages),
          to_string(shape),
          mergeable ? "merge" : "",
          directory,
          group};
}

std::optional<LoadOptions> LoadOptions::parse(int argc, char** argv) {
  if (argc != 9) return std::nullopt;
  LoadOptions o;
  o.budget = std::strtoull(argv[0], nullptr, 10);
  o.rows = std::strtoull(argv[1], nullptr, 10);
  o.tenants = std::strtoull(argv[2], nullptr, 10);
  o.seed = std::strtoull(argv[3], nullptr, 10);
  o.pages = argv[4] == std::string(to_string(Pages::huge)) ? Pages::huge : Pages::small;
  o.shape = argv[5] == std::string(to_string(Shape::skewed)) ? Shape::skewed : Shape::equal;
  o.mergeable = *argv[6] != 0;
  o.directory = argv[7];
  o.group = argv[8];
  return o;
}

int run_overcommit_load(int argc, char** argv) try {
  const auto options = LoadOptions::parse(argc, argv);
  if (!options) return 2;
  sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
  sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  if (!options->group.empty()) MemoryCgroup(options->group).enter();
  Host host;
  if (options->budget > 0) {
    HostOptions host_options;
    host_options.memory = options->budget;
    host_options.min_free = kMinFree;
    host_options.swap_directory = options->directory;
    host = make_host(host_options);
  }
  Gate gate;
  Loads loads;
  // Before the tenants go, whose threads wait for it.
  struct EndOfGate {
    Gate& gate;
    ~EndOfGate() { gate.end(); }
  } const end_of_gate{gate};
  for (std::size_t i = 0; i < options->tenants; ++i)
    loads.push_back(std::make_unique<Load>(host ? &host : nullptr, *options, i, gate));
  until(loads, &Load::loaded);
  ::malloc_trim(0);  // what sorting for the indexes has used
  std::uint64_t bytes = 0;
  for (const auto& l : loads) bytes += l->file_bytes();
  answer("ready " + std::to_string(bytes));
  for (std::string line; std::getline(std::cin, line);) {
    unsigned warm = 0, time = 0;
    if (std::sscanf(line.c_str(), "run %u %u", &warm, &time) == 2)
      run(loads, gate, std::chrono::milliseconds(warm), std::chrono::milliseconds(time));
    else if (line == "check")
      answer(check(loads, gate));
  }
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}

}  // namespace vmm::bench
