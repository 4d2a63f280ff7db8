// A process of its own, in a memory control group of its own, has a host whose guests are twice as large as its
// budget. Its threads touch them as fast as they can while this process watches from outside.
#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "comparisons.h"
#include "support/child.h"
#include "support/hosts.h"
#include "support/measure.h"
#include "support/memory.h"
#include "support/memory_cgroup.h"

namespace vmm::bench {
namespace {

constexpr std::uint64_t kBudget = 2 * GiB;  // large enough for guests to begin natively
constexpr std::uint64_t kGuest = 1 * GiB;
constexpr int kGuests = 4;
constexpr int kStarts = 3;  // from native guests again
constexpr auto kTime = std::chrono::seconds(2);
constexpr double kBound = 1.01;

enum class Pattern { sparse, random, sequential };

void load(Guest& guest, Pattern pattern, const std::vector<std::uint32_t>& order, const std::atomic<bool>& stop,
          std::atomic<std::uint64_t>& touches) {
  const auto memory = guest.memory();
  const auto pages = memory.size() / kPageSize;
  volatile std::byte* const bytes = memory.data();
  base::Random random(static_cast<std::uint64_t>(pattern) + 1);
  std::uint64_t count = 0;
  for (; !stop.load(std::memory_order_relaxed); ++count) {
    switch (pattern) {
      case Pattern::sparse:
        // All of it in pieces that do not touch each other, then from nothing again.
        if (count % order.size() == 0) discard_all(guest);
        bytes[order[count % order.size()] * kPageSize] = std::byte{1};
        break;
      case Pattern::random: bytes[random.below(pages) * kPageSize] = static_cast<std::byte>(count); break;
      case Pattern::sequential: bytes[count % pages * kPageSize] = static_cast<std::byte>(count); break;
    }
  }
  touches += count;
}

std::uint64_t resident_bytes(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  std::uint64_t size = 0, resident = 0, shared = 0;
  file >> size >> resident >> shared;
  return (resident - shared) * kPageSize;
}

double over(std::uint64_t bytes, std::uint64_t before) {
  return static_cast<double>(bytes - std::min(before, bytes)) / static_cast<double>(kBudget);
}

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(MiB); }

const char* name_of(Isolation isolation) {
  return isolation == Isolation::write_protect ? "write-protect and copy" : "as probed";
}

void measure(const Settings& settings, Report& report, Pages pages, Isolation isolation) {
  const std::string kind = std::string(" (") + to_string(pages) + ", " + name_of(isolation) + ")";
  std::string reason;
  const auto group = MemoryCgroup::create(reason);
  Child child(
      {settings.program, "--budget-load", to_string(pages), settings.directory, group != nullptr ? group->path() : "",
       name_of(isolation)});
  if (child.read_line() != "ready") throw std::runtime_error("the load did not start");
  const auto resident_before = resident_bytes(child.pid());
  const auto group_before = group != nullptr ? group->usage() : 0;
  std::uint64_t most = 0, samples = 0;
  while (!child.readable(0)) {
    most = std::max(most, resident_bytes(child.pid()));
    ++samples;
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
  const auto done = child.read_line();
  std::uint64_t touches = 0, out = 0, in = 0;
  if (std::sscanf(done.c_str(), "done %" SCNu64 " %" SCNu64 " %" SCNu64, &touches, &out, &in) != 3)
    throw std::runtime_error("the load failed: " + done);
  const auto peak = group != nullptr ? group->peak() : 0;
  if (child.wait() != 0) throw std::runtime_error("the load ended with an error");
  report.at_most(
      "anonymous memory at most / budget" + kind, over(most, resident_before), kBound,
      text("%.1f MiB of %.0f; %" PRIu64 " samples of /proc/<pid>/statm, %.1fM touches, %.0f MiB out, %.0f in",
           mib(most - resident_before), mib(kBudget), samples, static_cast<double>(touches) / 1e6, mib(out), mib(in)));
  if (group != nullptr)
    report.at_most("peak of the control group / budget" + kind, over(peak, group_before), kBound,
                   text("%.1f MiB of %.0f, the kernel's tables included", mib(peak - group_before), mib(kBudget)));
  else
    report.skipped("peak of the control group / budget" + kind, reason);
}

}  // namespace

void measure_budget(const Settings& settings, Report& report) {
  for (const auto isolation : {Isolation::automatic, Isolation::write_protect})
    for (const auto pages : {Pages::small, Pages::huge}) measure(settings, report, pages, isolation);
}

int run_budget_load(int argc, char** argv) try {
  if (argc != 4) return 2;
  const auto pages = std::string(argv[0]) == to_string(Pages::huge) ? Pages::huge : Pages::small;
  const auto isolation =
      argv[3] == std::string(name_of(Isolation::write_protect)) ? Isolation::write_protect : Isolation::automatic;
  if (*argv[2] != 0) MemoryCgroup(argv[2]).enter();
  const auto order = shuffled(kGuest / kPageSize, 23, 16);
  std::puts("ready");
  std::fflush(stdout);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the watcher looks at us as we are
  std::atomic<std::uint64_t> touches{0};
  std::uint64_t out = 0, in = 0;
  for (int start = 0; start < kStarts; ++start) {
    HostOptions options;
    options.memory = kBudget;
    options.swap_directory = argv[1];
    options.isolation = isolation;
    options.management = Management::on_demand;
    auto host = make_host(options);
    std::vector<Guest> guests;
    for (int i = 0; i < kGuests; ++i) {
      GuestOptions guest;
      guest.name = "load-" + std::to_string(i);
      guest.memory = kGuest;
      guest.large_pages = pages == Pages::huge;
      guests.push_back(value_of(host.create_guest(guest)));
    }
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    const Pattern patterns[kGuests] = {Pattern::sparse, Pattern::random, Pattern::sequential, Pattern::sequential};
    for (int i = 0; i < kGuests; ++i)
      threads.emplace_back([&, i] { load(guests[static_cast<std::size_t>(i)], patterns[i], order, stop, touches); });
    std::this_thread::sleep_for(kTime);
    stop = true;
    for (auto& t : threads) t.join();
    for (const auto& guest : guests) {
      out += guest.stats()->swapped_out;
      in += guest.stats()->swapped_in;
    }
  }
  std::printf("done %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", touches.load(), out, in);
  std::fflush(stdout);
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}

}  // namespace vmm::bench
