#include "idle_tax/experiment.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "idle_tax/record_table.h"
#include "smaps/smaps.h"
#include "vmm/vmm.h"

namespace idle_tax {
namespace {

using Clock = std::chrono::steady_clock;

vmm::Result<vmm::Guest> make_guest(vmm::Host& host, const char* name, std::uint64_t memory) {
  vmm::GuestOptions options;
  options.name = name;
  options.memory = memory;
  return host.create_guest(options);
}

// The guest's work, on a thread of its own.
class Worker {
 public:
  explicit Worker(RecordTable& table) : thread_([this, &table] { work(table); }) {}
  ~Worker() { stop(); }
  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  std::uint64_t operations() const noexcept { return operations_; }
  std::uint64_t wrong() const noexcept { return wrong_; }

 private:
  void work(RecordTable& table) {
    std::mt19937_64 random(1);
    while (!stop_) {
      wrong_ += table.use(random) ? 0 : 1;
      ++operations_;
    }
  }

  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> operations_{0}, wrong_{0};
  std::thread thread_;
};

}  // namespace

Phase settled(const std::vector<Row>& rows, double tax) {
  const auto first = std::find_if(rows.begin(), rows.end(), [&](const Row& r) { return r.tax == tax; });
  const auto last = std::find_if(first, rows.end(), [&](const Row& r) { return r.tax != tax; });
  Phase mean;
  const auto half = first + (last - first) / 2;
  if (half == last) return mean;
  const auto count = static_cast<std::uint64_t>(last - half);
  for (auto r = half; r != last; ++r) {
    mean.idle_resident += r->idle_resident / count;
    mean.busy_resident += r->busy_resident / count;
    mean.operations += r->operations / static_cast<double>(count);
  }
  return mean;
}

vmm::Result<Outcome> run(const Settings& settings, const std::function<void(const Row&)>& row) {
  vmm::HostOptions options;
  options.memory = settings.memory;
  options.swap_directory = settings.swap_directory;
  options.idle_tax = 0;
  // Far shorter than the default of a minute, so that a minute shows all of it.
  options.sample_period = std::chrono::seconds(settings.sample_seconds);
  options.min_free = 0.02;
  auto host = vmm::Host::create(options);
  if (!host) return tl::unexpected(host.error());
  auto idle = make_guest(*host, "idle", settings.guest);
  if (!idle) return tl::unexpected(idle.error());
  auto busy = make_guest(*host, "busy", settings.guest);
  if (!busy) return tl::unexpected(busy.error());

  const RecordTable unused(idle->memory());
  RecordTable table(busy->memory());

  Outcome outcome;
  Worker worker(table);
  double tax = 0;
  const auto begin = Clock::now();
  auto then = begin;
  std::uint64_t counted = 0;
  for (unsigned second = 1; second <= settings.seconds; ++second) {
    std::this_thread::sleep_until(begin + std::chrono::seconds(second));
    const auto idle_stats = idle->stats(), busy_stats = busy->stats();
    if (!idle_stats) return tl::unexpected(idle_stats.error());
    if (!busy_stats) return tl::unexpected(busy_stats.error());
    const auto now = Clock::now();
    const auto operations = worker.operations();
    Row r;
    r.second = std::chrono::duration<double>(now - begin).count();
    r.tax = tax;
    r.idle_resident = idle_stats->resident;
    r.busy_resident = busy_stats->resident;
    r.process = smaps::anonymous();
    r.idle_active = idle_stats->active;
    r.busy_active = busy_stats->active;
    r.operations = static_cast<double>(operations - counted) / std::chrono::duration<double>(now - then).count();
    then = now;
    counted = operations;
    outcome.rows.push_back(r);
    row(r);
    if (second == settings.seconds / 2) {
      vmm::HostChange change;
      change.idle_tax = tax = settings.tax;
      if (const auto changed = host->configure(change); !changed) return tl::unexpected(changed.error());
    }
  }
  worker.stop();
  outcome.wrong = worker.wrong();
  outcome.untaxed = settled(outcome.rows, 0);
  outcome.taxed = settled(outcome.rows, settings.tax);
  return outcome;
}

}  // namespace idle_tax
