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

constexpr std::uint64_t kGuest = 1 * GiB;
constexpr int kGuests = 4;
constexpr int kStarts = 3;  // from native guests again
constexpr auto kTime = std::chrono::seconds(2);
constexpr double kBound = 1.01;

enum class Pattern { sparse, random, sequential };

// watched: guests begin natively, and the budget is large enough to be watched. small: it is not, and what the default
// makes of that is measured.
enum class Kind { watched, small };

std::uint64_t budget_of(Kind kind) { return kind == Kind::watched ? 2 * GiB : 1 * GiB; }
const char* name_of(Kind kind) { return kind == Kind::watched ? "native at first" : "managed from the beginning"; }

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

double over(std::uint64_t bytes, std::uint64_t before, std::uint64_t budget) {
  return static_cast<double>(bytes - std::min(before, bytes)) / static_cast<double>(budget);
}

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(MiB); }

const char* name_of(Isolation isolation) {
  return isolation == Isolation::write_protect ? "write-protect and copy" : "as probed";
}

void measure(const Settings& settings, Report& report, Kind kind, Pages pages, Isolation isolation) {
  const auto budget = budget_of(kind);
  const std::string what =
      std::string(" (") + to_string(pages) + ", " + name_of(isolation) + ", " + name_of(kind) + ")";
  std::string reason;
  const auto group = MemoryCgroup::create(reason);
  Child child(
      {settings.program, "--budget-load", to_string(pages), settings.directory, group != nullptr ? group->path() : "",
       name_of(isolation), name_of(kind)});
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
      "anonymous memory at most / budget" + what, over(most, resident_before, budget), kBound,
      text("%.1f MiB of %.0f; %" PRIu64 " samples of /proc/<pid>/statm, %.1fM touches, %.0f MiB out, %.0f in",
           mib(most - resident_before), mib(budget), samples, static_cast<double>(touches) / 1e6, mib(out), mib(in)));
  if (group != nullptr)
    report.at_most("peak of the control group / budget" + what, over(peak, group_before, budget), kBound,
                   text("%.1f MiB of %.0f, the kernel's tables included", mib(peak - group_before), mib(budget)));
  else
    report.skipped("peak of the control group / budget" + what, reason);
}

}  // namespace

void measure_budget(const Settings& settings, Report& report) {
  for (const auto isolation : {Isolation::automatic, Isolation::write_protect})
    for (const auto pages : {Pages::small, Pages::huge}) measure(settings, report, Kind::watched, pages, isolation);
  for (const auto pages : {Pages::small, Pages::huge})
    measure(settings, report, Kind::small, pages, Isolation::automatic);
}

int run_budget_load(int argc, char** argv) try {
  if (argc != 5) return 2;
  const auto pages = std::string(argv[0]) == to_string(Pages::huge) ? Pages::huge : Pages::small;
  const auto isolation =
      argv[3] == std::string(name_of(Isolation::write_protect)) ? Isolation::write_protect : Isolation::automatic;
  const auto kind = argv[4] == std::string(name_of(Kind::small)) ? Kind::small : Kind::watched;
  if (*argv[2] != 0) MemoryCgroup(argv[2]).enter();
  const auto order = shuffled(kGuest / kPageSize, 23, 16);
  std::puts("ready");
  std::fflush(stdout);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the watcher looks at us as we are
  std::atomic<std::uint64_t> touches{0};
  std::uint64_t out = 0, in = 0;
  for (int start = 0; start < kStarts; ++start) {
    HostOptions options;
    options.memory = budget_of(kind);
    options.swap_directory = argv[1];
    options.isolation = isolation;
    if (kind == Kind::watched) options.management = Management::on_demand;
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
