#include "stress/monitor.h"

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <set>
#include <string>

#include "stress/peek.h"
#include "stress/report.h"

namespace vmm::stress {
namespace {

constexpr auto kPeriod = std::chrono::milliseconds(200);
// An operation of a thread may wait for memory and for the disk, but not for this long.
constexpr auto kLongest = std::chrono::seconds(60);

std::uint64_t resident_in(const std::vector<MemoryRange>& ranges) {
  std::FILE* file = std::fopen("/proc/self/smaps", "re");
  if (file == nullptr) report_failure("/proc/self/smaps cannot be read");
  std::uint64_t bytes = 0;
  bool inside = false;
  char line[512];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    std::uintptr_t first = 0, end = 0;
    std::uint64_t kib = 0;
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &first, &end) == 2)
      inside = std::any_of(ranges.begin(), ranges.end(),
                           [&](const MemoryRange& r) { return first >= r.first && end <= r.end; });
    else if (inside && std::sscanf(line, "Rss: %" SCNu64 " kB", &kib) == 1)
      bytes += kib * KiB;
  }
  std::fclose(file);
  return bytes;
}

}  // namespace

Monitor::Monitor(World& world, const std::vector<std::unique_ptr<Workload>>& workloads)
    : world_(world),
      workloads_(workloads),
      last_(workloads.size() + 1, Last{0, std::chrono::steady_clock::now()}),
      thread_([this] { run(); }) {}

Monitor::~Monitor() {
  {
    std::lock_guard lock(mutex_);
    end_ = true;
  }
  ended_.notify_all();
  thread_.join();
}

void Monitor::run() {
  std::unique_lock lock(mutex_);
  while (!ended_.wait_for(lock, kPeriod, [&] { return end_; })) {
    lock.unlock();
    check_budget();
    check_progress();
    lock.lock();
  }
}

std::uint64_t Monitor::consumed() {
  const auto stats = *world_.host().stats();
  return resident_in(known_ranges()) + stats.overhead;
}

void Monitor::check_budget() {
  const auto limit = world_.budget() + world_.budget() / 100;
  const auto first = consumed();
  ++readings_;
  if (first <= limit) {
    most_seen_ = std::max(most_seen_.load(), first);
    return;
  }
  const auto second = consumed();
  most_seen_ = std::max(most_seen_.load(), std::min(first, second));
  if (second <= limit) {
    ++single_excesses_;
    return;
  }
  const auto stats = *world_.host().stats();
  std::string text = "the guests hold " + std::to_string(first) + ", then " + std::to_string(second) +
                     " bytes; the budget is " + std::to_string(world_.budget()) + "; the library says " +
                     std::to_string(stats.consumed) + ", overhead " + std::to_string(stats.overhead);
  for (const auto& guest : stats.guests)
    text += "\n  guest \"" + guest.name + "\": resident " + std::to_string(guest.resident) + ", staging " +
            std::to_string(guest.staging) + ", swapped " + std::to_string(guest.swapped) +
            (guest.managed ? "" : ", native");
  report_failure(text);
}

void Monitor::check_progress() {
  const auto now = std::chrono::steady_clock::now();
  const auto stuck = [&](Last& last, bool working, std::uint64_t number) {
    if (!working || number != last.number) last = {number, now};
    return now - last.since > kLongest;
  };
  std::string who;
  for (std::size_t i = 0; i < workloads_.size(); ++i) {
    const auto p = workloads_[i]->progress();
    if (stuck(last_[i], p.op != Op::none, p.number)) who += " " + std::to_string(i);
  }
  const auto settling = world_.settling();
  if (stuck(last_.back(), settling != 0, settling)) who += " of the final comparison, at " + describe_address(settling);
  if (who.empty()) return;
  std::string text = "no progress in thread" + who;
  for (std::size_t i = 0; i < workloads_.size(); ++i) {
    const auto p = workloads_[i]->progress();
    text += "\n  thread " + std::to_string(i) + ": " + to_string(p.op) + ", operation " + std::to_string(p.number) +
            (p.address != 0 ? ", at " + describe_address(p.address) : "");
  }
  report_failure(text);
}

}  // namespace vmm::stress
