// What sharing costs the guests: the first write to a page that is shared, beside that to a page that the kernel has
// merged (KSM); and the work of databases in guests that are looked at for equal pages, beside guests that are not.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include "comparisons.h"
#include "database.h"
#include "memory_vfs.h"
#include "support/bare_sharing.h"
#include "support/hosts.h"
#include "support/ksm.h"
#include "support/measure.h"
#include "support/memory.h"
#include "tenant.h"
#include "workload.h"

namespace vmm::bench {
namespace {

constexpr std::uint64_t kBytes = 16 * MiB, kPages = kBytes / kPageSize;  // of each of two guests that hold the same
constexpr int kTimes = 3;
constexpr double kPatience = 60;  // seconds

constexpr std::uint64_t kRows = 48 * MiB, kReference = 2 * MiB;  // of each database
constexpr std::uint64_t kTransactions = 100'000;                 // of each database in a turn
constexpr int kTurns = 11;
// After loading, which leaves work behind: without it who has looked for equal pages meanwhile is ahead by 1 to 3 %.
constexpr auto kRest = std::chrono::milliseconds(500);

template <class T>
T value_of(tenants::Outcome<T> outcome) {
  if (!outcome) throw std::runtime_error(outcome.error());
  if constexpr (!std::is_void_v<T>) return std::move(*outcome);
}

// The medians of the times, in seconds, that a first write to each page takes of memories that are written in turns, in
// random order. The words were read just before: who was looked at last has no advantage.
std::vector<double> first_writes(const std::vector<std::span<std::byte>>& memories) {
  const auto word = [&](std::size_t which, std::uint64_t page) {
    return reinterpret_cast<volatile std::uint64_t*>(memories[which].data() + page * kPageSize);
  };
  for (std::uint64_t page = 0; page < kPages; ++page)
    for (std::size_t which = 0; which < memories.size(); ++which) static_cast<void>(*word(which, page));
  std::vector<Samples> times(memories.size());
  for (const auto page : shuffled(kPages, 1))
    for (std::size_t i = 0; i < memories.size(); ++i) {
      const auto which = (page + i) % memories.size();
      times[which].add(seconds([&] { *word(which, page) = 1; }));
    }
  std::vector<double> medians;
  for (const auto& t : times) medians.push_back(t.median());
  return medians;
}

HostOptions host_options(const Settings& settings) {
  HostOptions options;
  options.swap_directory = settings.directory;
  options.management = Management::at_creation;
  return options;
}

Guest make_sharing_guest(Host& host, const std::string& name, std::uint64_t bytes, const std::string& salt) {
  GuestOptions options;
  options.name = name;
  options.memory = options.reservation = bytes;
  options.large_pages = false;
  options.share_salt = salt;
  return bench::value_of(host.create_guest(options));
}

// Where the other holds the same pages: at the same places, so that runs of many are shared, or in random order, so
// that each is shared alone.
enum class Held { in_runs, one_by_one };

void fill(std::span<std::byte> a, std::span<std::byte> b, Held held) {
  fill_incompressible(a, 1);
  std::vector<std::uint32_t> order(kPages);
  std::iota(order.begin(), order.end(), 0U);
  if (held == Held::one_by_one) order = shuffled(kPages, 2);
  for (std::uint64_t page = 0; page < kPages; ++page)
    std::memcpy(b.data() + page * kPageSize, a.data() + order[page] * kPageSize, kPageSize);
}

void share_all(Host& host, const Guest& guest) {
  const double end = now_seconds() + kPatience;
  do {
    bench::value_of(host.share_now());
    if (now_seconds() > end) throw std::runtime_error("not all pages could be shared");
  } while (guest.stats()->shared < kBytes);
}

void merge_all(Ksm& ksm, const PlainMapping& a, const PlainMapping& b) {
  ksm.unmerge();
  for (const auto* mapping : {&a, &b})
    if (::madvise(mapping->memory().data(), kBytes, MADV_MERGEABLE) != 0)
      throw std::runtime_error("madvise(MADV_MERGEABLE)");
  ksm.on();
  const double end = now_seconds() + kPatience;
  while (ksm.merged() < kPages) {
    if (now_seconds() > end) throw std::runtime_error("ksmd does not merge all pages");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ksm.off();
}

// Seconds.
struct FirstWrites {
  Samples shared, merged, ratios;    // to pages that another holds, too: shared, merged by KSM, one by the other
  Samples bare;                      // to pages that are mapped one by one and no guest's, by those merged
  double other_salt = 0, alone = 0;  // the last time: to pages that guests of another salt share, and that nobody has
};

void write_first(const Settings& settings, Ksm& ksm, Held held, FirstWrites& times) {
  auto options = host_options(settings);
  options.memory = 64 * MiB + 4 * kBytes;
  options.share_scan_ghz = 4;
  options.share_scan_time = std::chrono::hours(24);  // nothing by itself meanwhile
  auto host = make_host(options);
  auto a = make_sharing_guest(host, "a", kBytes, "one"), b = make_sharing_guest(host, "b", kBytes, "one"),
       other = make_sharing_guest(host, "other", kBytes, "two"), alone = make_sharing_guest(host, "alone", kBytes, "");
  fill(a.memory(), b.memory(), held);
  fill_incompressible(other.memory(), 1);
  fill_incompressible(alone.memory(), 2);
  const PlainMapping merged(kBytes, Pages::small), same(kBytes, Pages::small);
  fill(merged.memory(), same.memory(), held);
  share_all(host, a);
  if (other.stats()->shared + alone.stats()->shared > 0) throw std::runtime_error("pages of another salt are shared");
  merge_all(ksm, merged, same);
  settle();
  const auto equal = first_writes({a.memory(), merged.memory()});
  times.shared.add(equal[0]);
  times.merged.add(equal[1]);
  times.ratios.add(equal[0] / equal[1]);
  if (held == Held::one_by_one) {
    const PagesByThemselves bare(kPages);
    fill(merged.memory(), same.memory(), held);
    merge_all(ksm, merged, same);
    settle();
    const auto plain = first_writes({bare.memory(), merged.memory()});
    times.bare.add(plain[0] / plain[1]);
  }
  const auto own = first_writes({other.memory(), alone.memory()});
  times.other_salt = own[0];
  times.alone = own[1];
}

void compare_first_writes(const Settings& settings, Report& report) {
  const std::string name = "first write to a shared page, p50 / to one merged by KSM";
  std::unique_ptr<Ksm> ksm;
  try {
    ksm = std::make_unique<Ksm>(settings.program);
    ksm->set_unbounded();
  } catch (const std::exception& e) {
    return report.skipped(name, e.what());
  }
  Samples other_salt, alone;
  for (const auto held : {Held::in_runs, Held::one_by_one}) {
    FirstWrites times;
    for (int i = 0; i < kTimes; ++i) {
      write_first(settings, *ksm, held, times);
      other_salt.add(times.other_salt);
      alone.add(times.alone);
    }
    report.at_most(name + (held == Held::in_runs ? ", shared in runs" : ", shared one by one"), times.ratios.median(),
                   1.1,
                   text("%.2f and %.2f us, %" PRIu64 " pages in random order", times.shared.median() * 1e6,
                        times.merged.median() * 1e6, kPages));
    if (times.bare.size() > 0)
      report.note(name + ", mapped one by one without a guest", times.bare.median(), "what the kernel takes by itself");
  }
  report.note("first write to a page that another salt shares, p50 / to one that nobody has",
              other_salt.median() / alone.median(),
              text("%.0f and %.0f ns, the clock's own time included", other_salt.median() * 1e9, alone.median() * 1e9));
}

// The demonstration's database in a guest, loaded.
class Tenant {
 public:
  Tenant(Host& host, std::uint64_t number) {
    const auto name = "db-" + std::to_string(number);
    const tenants::WorkloadOptions options{.seed = number, .bytes = kRows, .reference = kReference};
    guest_ = make_sharing_guest(host, name, tenants::memory_for(options), "reference");
    vfs_ =
        value_of(tenants::MemoryVfs::create(name, guest_.memory(), [this](std::uint64_t offset, std::uint64_t bytes) {
          return guest_.discard(offset, bytes).has_value();
        }));
    database_ = value_of(tenants::Database::open(*vfs_));
    workload_ = value_of(tenants::Workload::create(database_, options));
    while (!workload_->loaded()) value_of(workload_->step());
  }

  void work() {
    const auto seat = bench::value_of(guest_.attach_current_thread());
    for (std::uint64_t i = 0; i < kTransactions; ++i) value_of(workload_->step());
  }
  std::uint64_t digest() { return value_of(workload_->digest()); }
  const Guest& guest() const noexcept { return guest_; }

 private:
  Guest guest_;
  std::unique_ptr<tenants::MemoryVfs> vfs_;
  tenants::Database database_;
  std::unique_ptr<tenants::Workload> workload_;
};

// Each in a thread of its own, all at once. Throws what the first of them has thrown.
void all_at_once(std::uint64_t count, const std::function<void(std::uint64_t)>& each) {
  std::vector<std::string> errors(count);
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < count; ++i)
    threads.emplace_back([&, i] {
      try {
        each(i);
      } catch (const std::exception& e) {
        errors[i] = e.what();
      }
    });
  for (auto& thread : threads) thread.join();
  for (const auto& error : errors)
    if (!error.empty()) throw std::runtime_error(error);
}

struct Work {
  double seconds = 0, processor = 0;      // processor: seconds of all threads of the process
  std::uint64_t digest = 0;               // of all databases
  std::uint64_t shared = 0, scanned = 0;  // bytes: at the end, and looked at meanwhile
};

// As many databases as processors. `scan_time` 0: nothing is shared. What they hold alike is shared already, as in
// guests that have been there for long.
Work work(const Settings& settings, std::chrono::milliseconds scan_time) {
  auto options = host_options(settings);
  const bool shares = scan_time.count() > 0;
  if (shares) {
    options.share_scan_ghz = 4;
    options.share_scan_time = scan_time;
  }
  const std::uint64_t count = std::clamp(std::thread::hardware_concurrency(), 1U, 8U);
  options.memory = (count + 1) * 2 * (kRows + kReference);  // with room for all
  auto host = make_host(options);
  std::vector<std::unique_ptr<Tenant>> all(count);
  all_at_once(count, [&](std::uint64_t i) { all[i] = std::make_unique<Tenant>(host, i + 1); });
  if (shares) bench::value_of(host.share_now());
  std::this_thread::sleep_for(kRest);
  const auto scanned = [&] {
    std::uint64_t sum = 0;
    for (const auto& tenant : all) sum += tenant->guest().stats()->share_scanned;
    return sum;
  };
  Work done;
  const auto scanned_before = scanned();
  const double processor_before = cpu_seconds(RUSAGE_SELF);
  done.seconds = seconds([&] { all_at_once(count, [&](std::uint64_t i) { all[i]->work(); }); });
  done.processor = cpu_seconds(RUSAGE_SELF) - processor_before;
  done.scanned = scanned() - scanned_before;
  done.shared = host.stats()->shared;
  for (const auto& tenant : all) done.digest = done.digest * 31 + tenant->digest();
  return done;
}

void compare_work(const Settings& settings, Report& report, const std::string& what,
                  std::chrono::milliseconds scan_time, double bound) {
  Samples processor, peer_processor, shared, scanned;
  std::uint64_t digest = 0, peer_digest = 0;
  const auto pair = take_turns(
      kTurns,
      [&] {
        const auto done = work(settings, scan_time);
        processor.add(done.processor);
        shared.add(static_cast<double>(done.shared));
        scanned.add(static_cast<double>(done.scanned));
        digest = done.digest;
        return done.seconds;
      },
      [&] {
        const auto done = work(settings, {});
        peer_processor.add(done.processor);
        peer_digest = done.digest;
        return done.seconds;
      });
  if (digest != peer_digest) throw std::runtime_error("the databases differ");
  const auto rate = [](const Samples& s) { return static_cast<double>(kTransactions) / s.median(); };
  const auto name = "transactions/s of databases, looked at " + what + " / not looked at";
  const auto detail =
      text("%.0f and %.0f/s each, processor time %.3f; %.0f MiB shared, %.1f MiB looked at in %.1f s; %d pairs",
           rate(pair.ours), rate(pair.peer), processor.median() / peer_processor.median(),
           shared.median() / static_cast<double>(MiB), scanned.median() / static_cast<double>(MiB), pair.ours.median(),
           kTurns);
  if (bound > 0)
    report.at_least(name, 1 / pair.ratio(), bound, detail);
  else
    report.note(name, 1 / pair.ratio(), detail);
}

}  // namespace

void measure_sharing_cost(const Settings& settings, Report& report) {
  compare_first_writes(settings, report);
  // Each connection has one thread. Without effect where SQLite is in use already, for both sides alike.
  sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
  sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  compare_work(settings, report, "by default", HostOptions().share_scan_time, 0.98);
  // Then share_rate_max and share_scan_ghz are what bounds it.
  compare_work(settings, report, "all the time", std::chrono::seconds(1), 0);
}

}  // namespace vmm::bench
