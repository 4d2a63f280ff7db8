// The same databases and transactions in the same memory, once in guests of a host, once in plain memory of a control
// group with the kernel's swap and page merging. Both processes live side by side, each in a group of its own, and take
// turns.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "comparisons.h"
#include "overcommit_load.h"
#include "support/child.h"
#include "support/kernel_swap.h"
#include "support/ksm.h"
#include "support/measure.h"
#include "support/memory.h"
#include "support/memory_cgroup.h"
#include "tenant.h"

namespace vmm::bench {
namespace {

// All that a process may use, its own heap included.
constexpr std::uint64_t kMemory = 512 * MiB;
// What the process needs beside the budget of its host: SQLite's heaps, stacks, the program. That it is enough is
// measured.
constexpr std::uint64_t kBeside = 11 * MiB;
constexpr std::uint64_t kTenants = 6;
constexpr int kTurns = 3;
// A group that was just loaded takes a while to find out what is in use.
constexpr unsigned kFirstWarmMs = 6000;
constexpr unsigned kWarmMs = 1000, kTimeMs = 3000;
constexpr double kFilePerRows = 1.19;  // bytes of a database for each byte of its rows
// The better of the two for the kernel: 1.2 to 1.5 times the transactions of small pages.
constexpr auto kKernelPages = Pages::huge;

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(MiB); }

struct Traffic {
  std::uint64_t in = 0, out = 0;  // bytes, since the machine started
};

Traffic kernel_traffic() {
  std::ifstream file("/proc/vmstat");
  Traffic traffic;
  std::string key;
  for (std::uint64_t pages = 0; file >> key >> pages;) {
    if (key == "pswpin") traffic.in = pages * kPageSize;
    if (key == "pswpout") traffic.out = pages * kPageSize;
  }
  return traffic;
}

struct Figures {
  Samples rates, p99s, processors, ins, outs;

  std::string describe() const {
    return text("%.0f/s, p99 %.1f ms, swap in %.0f and out %.0f MiB/s, %.0f %% processor", rates.median(),
                p99s.median() / 1e3, ins.median(), outs.median(), processors.median());
  }
};

// One of the processes.
class Side {
 public:
  Side(const Settings& settings, LoadOptions options, std::uint64_t limit)
      : name_(options.budget > 0 ? "ours" : "kernel") {
    std::string reason;
    group_ = MemoryCgroup::create(reason);
    if (group_ == nullptr) throw std::runtime_error(reason);
    if (limit > 0 && !group_->limit(limit)) throw std::runtime_error("cannot limit " + group_->path());
    options.group = group_->path();
    std::vector<std::string> words = {settings.program, "--overcommit-load"};
    for (auto& word : options.arguments()) words.push_back(std::move(word));
    child_ = std::make_unique<Child>(std::move(words));
  }

  // Waits until the databases are loaded. Returns their bytes.
  std::uint64_t ready() {
    std::uint64_t bytes = 0;
    const auto line = child_->read_line();
    if (std::sscanf(line.c_str(), "ready %" SCNu64, &bytes) != 1)
      throw std::runtime_error(name_ + " did not load: " + line);
    return bytes;
  }

  // Transactions that are not measured. Both sides may do them at the same time.
  void begin_warm_up() { child_->write_line(text("run %u 1", kFirstWarmMs)); }
  void end_warm_up() { child_->read_line(); }

  void turn(Figures& f) {
    const auto before = kernel_traffic();
    child_->write_line(text("run %u %u", kWarmMs, kTimeMs));
    while (!child_->readable(10)) most_ = std::max(most_, group_->usage());
    const auto line = child_->read_line();
    double rate = 0, p99 = 0, processor = 0;
    std::uint64_t in = 0, out = 0;
    if (std::sscanf(line.c_str(), "done %lf %lf %lf %" SCNu64 " %" SCNu64, &rate, &p99, &processor, &in, &out) != 5)
      throw std::runtime_error(name_ + " did not run: " + line);
    const auto after = kernel_traffic();
    f.rates.add(rate);
    f.p99s.add(p99);
    f.processors.add(processor);
    // The kernel counts from the beginning of the warm-up.
    constexpr double kWhole = (kWarmMs + kTimeMs) / 1e3, kTime = kTimeMs / 1e3;
    f.ins.add(mib(in) / kTime + mib(after.in - before.in) / kWhole);
    f.outs.add(mib(out) / kTime + mib(after.out - before.out) / kWhole);
  }

  // Every database is sound, and the first is what its steps make of it on memory of its own.
  void begin_check() { child_->write_line("check"); }
  void end_check(std::uint64_t rows) {
    const auto line = child_->read_line();
    std::uint64_t seed = 0, steps = 0, digest = 0;
    if (std::sscanf(line.c_str(), "checked %" SCNu64 " %" SCNu64 " %" SCNu64, &seed, &steps, &digest) != 3)
      throw std::runtime_error("a database of " + name_ + " is damaged: " + line);
    tenants::TenantOptions options;
    options.name = name_;
    options.workload = {.seed = seed, .bytes = rows};
    const auto verdict = tenants::replay(options, steps);
    if (!verdict.failure.empty()) throw std::runtime_error("the replay for " + name_ + " failed: " + verdict.failure);
    if (verdict.digest != digest) throw std::runtime_error("a database of " + name_ + " differs from its replay");
  }

  // Most that the group has used during turns: loading needs more, for sorting, and is not measured.
  std::uint64_t most() const { return most_; }

 private:
  const std::string name_;
  std::uint64_t most_ = 0;
  std::unique_ptr<MemoryCgroup> group_;
  std::unique_ptr<Child> child_;  // goes before its group
};

double ratio(const Samples& ours, const Samples& peer) {
  Samples ratios;
  for (std::size_t i = 0; i < ours.size(); ++i) ratios.add(ours[i] / peer[i]);
  return ratios.median();
}

// `ksm`: nullptr where the kernel has none.
void compare(const Settings& settings, Report& report, Ksm* ksm, double overcommit, Shape shape) {
  LoadOptions options;
  options.rows = static_cast<std::uint64_t>(overcommit * static_cast<double>(kMemory) / kFilePerRows);
  options.tenants = kTenants;
  options.shape = shape;
  options.directory = settings.directory;
  options.budget = kMemory - kBeside;
  Side ours(settings, options, 0);
  options.budget = 0;
  options.pages = kKernelPages;
  options.mergeable = true;
  Side kernel(settings, options, kMemory);
  const auto file_bytes = ours.ready();
  kernel.ready();
  ours.begin_warm_up();
  kernel.begin_warm_up();
  ours.end_warm_up();
  kernel.end_warm_up();

  Figures our_figures, merging, not_merging;
  // Who goes first changes.
  const std::function<void()> turns[] = {
      [&] { ours.turn(our_figures); },
      [&] {
        if (ksm == nullptr) return;
        ksm->on();
        kernel.turn(merging);
        ksm->off();
      },
      [&] { kernel.turn(not_merging); },
  };
  for (std::size_t i = 0; i < kTurns; ++i)
    for (std::size_t k = 0; k < std::size(turns); ++k) turns[(i + k) % std::size(turns)]();

  const auto most = ours.most();
  const auto merged = ksm != nullptr ? ksm->merged() : 0;
  ours.begin_check();
  kernel.begin_check();
  ours.end_check(options.rows / options.tenants);
  kernel.end_check(options.rows / options.tenants);

  const auto kind = text(" (%.1f x, %s)", overcommit, to_string(shape));
  const auto our_text = text("%.0f MiB of databases in %.0f; ", mib(file_bytes), mib(kMemory)) + our_figures.describe();
  if (ksm != nullptr)
    report.note("transactions/s, against the kernel with KSM" + kind, ratio(our_figures.rates, merging.rates),
                our_text + "; kernel " + merging.describe() + text("; %.0f MiB merged", mib(merged * kPageSize)));
  report.note("transactions/s, against the kernel without KSM" + kind, ratio(our_figures.rates, not_merging.rates),
              "kernel " + not_merging.describe());
  report.at_most("most in our control group / memory" + kind, static_cast<double>(most) / static_cast<double>(kMemory),
                 1.0, text("%.1f MiB of %.0f", mib(most), mib(kMemory)));
}

}  // namespace

void compare_overcommit(const Settings& settings, Report& report) {
  std::unique_ptr<KernelSwap> swap;
  try {
    swap = std::make_unique<KernelSwap>(settings.program, settings.directory, 3 * kMemory);
  } catch (const std::runtime_error& e) {
    return report.skipped("transactions/s, against the kernel", e.what());
  }
  std::unique_ptr<Ksm> ksm;
  try {
    ksm = std::make_unique<Ksm>(settings.program);
  } catch (const std::runtime_error& e) {
    report.skipped("transactions/s, against the kernel with KSM", e.what());
  }
  for (const auto shape : {Shape::equal, Shape::skewed})
    for (const double overcommit : {1.5, 2.0}) compare(settings, report, ksm.get(), overcommit, shape);
}

}  // namespace vmm::bench
