// Stress test: threads do random things to guests that are together twice as large as the host's budget, and every
// byte is checked against what it should be. Two halves: one over each way of swap I/O that there is.
//
//   stress_tests --isolation move|write_protect [--seconds 30] [--seed 1] [--swap-io both|io_uring|threads]
//                [--threads 8] [--shrink 1]
//
// The last two are for machines that are slow: fewer threads, at most 8; guests so many times smaller, at most 8.
//
// Exit status: 0 all right, 1 something was wrong (see report.h), 2 bad arguments, 77 the kernel lacks what is asked.
// $VMM_TEST_DIRECTORY (/var/tmp): where the swap files are.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "stress/jitter.h"
#include "stress/monitor.h"
#include "stress/report.h"
#include "stress/residue.h"
#include "stress/workload.h"
#include "stress/world.h"
#include "vmm/capabilities.h"

namespace vmm::stress {
namespace {

// What the allocator may keep for its arenas. A sanitizer's allocator keeps more; ThreadSanitizer's shadow of memory
// that was once a guest's stays, in as many pieces as the guest was in.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kSpareMappings = 4000;
#else
constexpr std::size_t kSpareMappings = 40;
#endif

struct Arguments {
  Isolation isolation = Isolation::automatic;
  double seconds = 30;
  std::uint64_t seed = 1;
  std::string swap_io = "both";
  unsigned threads = kMostThreads;
  std::uint64_t shrink = 1;
  std::string directory;
};

std::optional<Arguments> parse(int count, char** values) {
  Arguments a;
  const char* directory = std::getenv("VMM_TEST_DIRECTORY");
  a.directory = directory != nullptr ? directory : "/var/tmp";
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string name = values[i], value = values[i + 1];
    if (name == "--isolation" && value == "move")
      a.isolation = Isolation::move;
    else if (name == "--isolation" && value == "write_protect")
      a.isolation = Isolation::write_protect;
    else if (name == "--seconds")
      a.seconds = std::strtod(value.c_str(), nullptr);
    else if (name == "--seed")
      a.seed = std::strtoull(value.c_str(), nullptr, 0);
    else if (name == "--threads")
      a.threads = static_cast<unsigned>(std::strtoul(value.c_str(), nullptr, 0));
    else if (name == "--shrink")
      a.shrink = std::strtoull(value.c_str(), nullptr, 0);
    else if (name == "--swap-io" && (value == "both" || value == "io_uring" || value == "threads"))
      a.swap_io = value;
    else
      return std::nullopt;
  }
  if (a.threads < 1 || a.threads > kMostThreads || a.shrink < 1 || a.shrink > 8) return std::nullopt;
  if (count % 2 == 0 || a.isolation == Isolation::automatic || !(a.seconds > 0)) return std::nullopt;
  return a;
}

const char* to_string(Isolation isolation) { return isolation == Isolation::move ? "move" : "write_protect"; }
const char* to_string(SwapIo io) { return io == SwapIo::io_uring ? "io_uring" : "threads"; }

// Why this test cannot run here; empty: it can.
std::string lacking(const Capabilities& have, Isolation isolation) {
  if (have.level == CapabilityLevel::none) return "there is no userfaultfd";
  if (isolation == Isolation::move && have.level != CapabilityLevel::full) {
    const auto* move = have.find("uffdio_move");
    return "the kernel's level is " + std::string(vmm::to_string(have.level)) +
           "; UFFDIO_MOVE: " + (move != nullptr ? vmm::to_string(move->state) : "unknown");
  }
  return {};
}

struct Phase {
  WorldOptions world;
  double seconds;
  unsigned threads;
  bool jitter;
  std::string name;
};

void print_summary(const Phase& phase, World& world, const Monitor& monitor,
                   const std::vector<std::unique_ptr<Workload>>& workloads) {
  std::uint64_t refused = 0, natives = 0, all = 0;
  std::array<Workload::Done, kOps> done{};
  for (const auto& w : workloads) {
    refused += w->refused();
    natives += w->went_native();
    for (unsigned i = 0; i < kOps; ++i) {
      done[i].count += w->done()[i].count;
      done[i].total += w->done()[i].total;
      done[i].longest = std::max(done[i].longest, w->done()[i].longest);
      all += w->done()[i].count;
    }
  }
  std::printf("%s: %" PRIu64 " operations (%" PRIu64 " refused by the rules, %" PRIu64
              " returns to native); mean us / longest ms:\n",
              phase.name.c_str(), all, refused, natives);
  for (unsigned i = 0; i < kOps; ++i)
    if (done[i].count != 0)
      std::printf("  %-11s %7" PRIu64 " %8.0f /%7.1f\n", to_string(static_cast<Op>(i)), done[i].count,
                  static_cast<double>(done[i].total.count()) / 1e3 / static_cast<double>(done[i].count),
                  static_cast<double>(done[i].longest.count()) / 1e6);
  GuestStats sum;
  const auto guests = world.host().stats()->guests;
  for (const auto& g : guests) {
    sum.faults += g.faults;
    sum.fills += g.fills;
    sum.rescues += g.rescues;
    sum.swap_ins += g.swap_ins;
    sum.stalls += g.stalls;
    sum.busy_pages += g.busy_pages;
    sum.swapped_out += g.swapped_out;
    sum.swapped_in += g.swapped_in;
    sum.swap_written += g.swap_written;
    sum.ballooned_out += g.ballooned_out;
    sum.balloon_popped += g.balloon_popped;
    sum.samples += g.samples;
    sum.sample_faults += g.sample_faults;
    sum.stops += g.stops;
    sum.migrations += g.migrations;
    sum.migrated += g.migrated;
    sum.share_scanned += g.share_scanned;
    sum.share_made += g.share_made;
    sum.share_zero += g.share_zero;
    sum.share_broken += g.share_broken;
    sum.share_changing += g.share_changing;
    sum.share_refused += g.share_refused;
  }
  std::printf("  faults %" PRIu64 ": fills %" PRIu64 ", rescues %" PRIu64 ", swap-ins %" PRIu64
              ", waited for memory %" PRIu64 "; pages busy %" PRIu64 "\n  swapped out %" PRIu64 " MiB (%" PRIu64
              " written), in %" PRIu64 " MiB\n",
              sum.faults, sum.fills, sum.rescues, sum.swap_ins, sum.stalls, sum.busy_pages, sum.swapped_out / MiB,
              sum.swap_written / MiB, sum.swapped_in / MiB);
  std::printf("  ballooned %" PRIu64 " MiB, popped %" PRIu64 " pages; sampled %" PRIu64 " periods, %" PRIu64
              " faults; stopped %" PRIu64 " times\n",
              sum.ballooned_out / MiB, sum.balloon_popped / kPageSize, sum.samples, sum.sample_faults, sum.stops);
  std::printf("  re-homed %" PRIu64 " times, %" PRIu64 " MiB migrated\n", sum.migrations, sum.migrated / MiB);
  if (phase.world.share)
    std::printf("  shared %" PRIu64 " pages, of zeros dropped %" PRIu64 ", broken %" PRIu64 ", changing %" PRIu64
                ", refused %" PRIu64 " of %" PRIu64 " looked at\n",
                sum.share_made / kPageSize, sum.share_zero / kPageSize, sum.share_broken / kPageSize,
                sum.share_changing / kPageSize, sum.share_refused / kPageSize, sum.share_scanned / kPageSize);
  std::printf("  most memory seen %.1f of %.1f MiB in %" PRIu64 " readings (%" PRIu64
              " single ones above); events %" PRIu64 ", exhausted %" PRIu64 ", stalled %" PRIu64 "\n",
              static_cast<double>(monitor.most_seen()) / MiB, static_cast<double>(world.budget()) / MiB,
              monitor.readings(), monitor.single_excesses(), world.events().seen.load(),
              world.events().exhausted.load(), world.events().stalled.load());
  std::fflush(stdout);
}

// One host from beginning to end. Ends the process on failure.
void run(const Phase& phase) {
  std::printf("%s\n", phase.name.c_str());
  std::fflush(stdout);
  set_report_heading(phase.name);
  std::optional<Jitter> jitter;
  const bool made_up = World::makes_up_nodes();
  if (phase.jitter || made_up) jitter.emplace(phase.world.seed, phase.jitter, made_up);
  auto world = World::build(phase.world);
  if (!world) report_failure(world.error().message());
  std::vector<std::unique_ptr<Workload>> workloads;
  for (unsigned t = 0; t < phase.threads; ++t) {
    auto workload = Workload::create(**world, t);
    if (!workload) report_failure(workload.error().message());
    workloads.push_back(std::move(*workload));
  }
  {
    Monitor monitor(**world, workloads);
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (auto& workload : workloads) threads.emplace_back([&, w = workload.get()] { w->run(stop); });
    std::this_thread::sleep_for(std::chrono::duration<double>(phase.seconds));
    stop = true;
    for (auto& thread : threads) thread.join();
    print_summary(phase, **world, monitor, workloads);
    (*world)->settle();
  }
}

int run_all(const Arguments& a) {
  const auto have = probe(a.directory);
  if (const auto why = lacking(have, a.isolation); !why.empty()) {
    std::printf("skipped: %s\n", why.c_str());
    return 77;
  }
  std::vector<SwapIo> ways;
  if (a.swap_io != "threads" && have.has("io_uring")) ways.push_back(SwapIo::io_uring);
  if (a.swap_io != "io_uring") ways.push_back(SwapIo::threads);
  if (ways.empty()) {
    std::printf("skipped: io_uring is not allowed here\n");
    return 77;
  }
  std::optional<Residue> before;
  for (std::size_t i = 0; i < ways.size(); ++i) {
    Phase phase;
    phase.world = {a.isolation, ways[i], (a.seed + i) % 2 == 0 ? Management::at_creation : Management::on_demand,
                   a.directory, a.seed * ways.size() + i, a.shrink, i + 1 == ways.size()};
    phase.threads = a.threads;
    phase.seconds = a.seconds / static_cast<double>(ways.size());
    phase.jitter = (a.seed / 2 + i) % 2 == 0;
    phase.name = std::string("stress --isolation ") + to_string(a.isolation) + " --seed " + std::to_string(a.seed) +
                 ", swap I/O by " + to_string(ways[i]) + (phase.world.share ? ", pages shared" : "") +
                 (phase.jitter ? ", system calls delayed" : "") +
                 (phase.world.management == Management::at_creation ? ", managed at creation" : "");
    if (!before) {
      // What is made once and stays (topology, sanitizers' threads) is there after the first host.
      Phase first = phase;
      first.seconds = 0.05;
      first.name += ", first host";
      run(first);
      before = Residue::now();
    }
    run(phase);
    const auto after = Residue::now();
    if (const auto left = left_over(*before, after, kSpareMappings); !left.empty())
      report_failure("left over: " + left);
    std::printf("  all pages compared, nothing left over; mappings %zu before, %zu after\n", before->mappings,
                after.mappings);
  }
  return 0;
}

}  // namespace
}  // namespace vmm::stress

int main(int count, char** values) {
  const auto arguments = vmm::stress::parse(count, values);
  if (!arguments) {
    std::fprintf(stderr,
                 "usage: %s --isolation move|write_protect [--seconds N] [--seed S] "
                 "[--swap-io both|io_uring|threads] [--threads 1-8] [--shrink 1-8]\n",
                 values[0]);
    return 2;
  }
  std::printf("seed %" PRIu64 "\n", arguments->seed);
  vmm::stress::install_crash_report();
  return vmm::stress::run_all(*arguments);
}
