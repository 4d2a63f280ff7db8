// vmm_bench: measures the library beside its peers and says whether the bounds hold that the project promises.
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <thread>

#include <benchmark/benchmark.h>

#include "comparisons.h"
#include "support/keep_free_memory.h"
#include "support/kernel_swap.h"
#include "support/measure.h"
#include "support/memory.h"
#include "vmm/vmm.h"

namespace vmm::bench {
namespace {

struct Comparison {
  const char* name;
  void (*run)(const Settings&, Report&);
};

constexpr Comparison kComparisons[] = {
    {"native", compare_native},
    {"managed", compare_managed},
    {"faults", compare_faults},
    {"swap", compare_swap},
    {"random-swap-in", compare_random_swap_in},
    {"metadata", measure_metadata},
    {"stats", measure_stats},
    {"budget", measure_budget},
    {"rebalance", measure_rebalance},
    {"cpu_weights", measure_cpu_weights},
    {"migration", compare_migration},
    {"numa", measure_numa},
    {"balloon", compare_balloon},
    {"sharing", compare_sharing},
    {"sharing_cost", measure_sharing_cost},
    {"overcommit", compare_overcommit},
    {"run", compare_run},
};

int usage() {
  std::fputs(
      "usage: vmm_bench [--directory=DIR] [COMPARISON...]\n"
      "       vmm_bench --micro [arguments of Google Benchmark]\n\n"
      "Compares the library with its peers, all of it or what is named, and prints a table of ratios and their\n"
      "bounds. Files are made in DIR (the program's own folder by default) and removed. As root, the kernel's swap\n"
      "is measured too, with a swap file that is turned off again; and free memory is not reported to a hypervisor\n"
      "while it runs. Exit status 1 if a bound does not hold.\n"
      "--micro runs the benchmarks of single hot paths instead.\n\ncomparisons:",
      stderr);
  for (const auto& c : kComparisons) std::fprintf(stderr, " %s", c.name);
  std::fputc('\n', stderr);
  return 2;
}

std::string own_path() {
  std::array<char, PATH_MAX> path{};
  const auto length = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  return length > 0 ? std::string(path.data(), static_cast<std::size_t>(length)) : "/proc/self/exe";
}

int run_comparisons(int argc, char** argv) {
  Settings settings;
  settings.program = own_path();
  settings.directory = settings.program.substr(0, settings.program.rfind('/'));
  std::array<bool, std::size(kComparisons)> chosen{};
  bool any = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    constexpr std::string_view kDirectory = "--directory=";
    bool known = false;
    if (argument.substr(0, kDirectory.size()) == kDirectory) {
      settings.directory = argument.substr(kDirectory.size());
      known = true;
    }
    for (std::size_t c = 0; c < chosen.size(); ++c)
      if (argument == kComparisons[c].name) known = any = chosen[c] = true;
    if (!known) return usage();
  }
  const auto capabilities = probe(settings.directory);
  utsname system{};
  ::uname(&system);
  std::printf("Linux %s, %u processors, level %s, files in %s\n\n", system.release, std::thread::hardware_concurrency(),
              to_string(capabilities.level), settings.directory.c_str());
  std::fflush(stdout);
  const KeepFreeMemory keep(settings.program);
  warm_up(6 * GiB);
  Report report;
  const double begin = now_seconds();
  for (std::size_t c = 0; c < chosen.size(); ++c) {
    if (any && !chosen[c]) continue;
    std::fprintf(stderr, "%s (%.0f s)\n", kComparisons[c].name, now_seconds() - begin);
    if (capabilities.level == CapabilityLevel::none && kComparisons[c].run != compare_native &&
        kComparisons[c].run != measure_rebalance) {
      report.skipped(kComparisons[c].name, "no userfaultfd");
      continue;
    }
    try {
      kComparisons[c].run(settings, report);
    } catch (const std::exception& e) {
      report.failed(kComparisons[c].name, e.what());
    }
  }
  report.print(stdout);
  return report.all_held() ? 0 : 1;
}

}  // namespace
}  // namespace vmm::bench

int main(int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (first == "--swap-guardian" && argc == 3) return vmm::bench::KernelSwap::guard(argv[2]);
  if (first == "--setting-guardian" && argc == 4) return vmm::bench::KeepFreeMemory::guard(argv[2], argv[3]);
  if (first == "--budget-load") return vmm::bench::run_budget_load(argc - 2, argv + 2);
  if (first == "--overcommit-load") return vmm::bench::run_overcommit_load(argc - 2, argv + 2);
  if (first == "--micro") {
    argv[1] = argv[0];
    int count = argc - 1;
    benchmark::Initialize(&count, argv + 1);
    if (benchmark::ReportUnrecognizedArguments(count, argv + 1)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    return 0;
  }
  return vmm::bench::run_comparisons(argc, argv);
}
