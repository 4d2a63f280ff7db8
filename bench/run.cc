// Programs that know nothing of libvmm, in half of the memory they use: by vmmctl run, and in a control group of that
// size with the kernel's swap. Their work, its output compared each time, takes turns.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "comparisons.h"
#include "support/child.h"
#include "support/kernel_swap.h"
#include "support/measure.h"
#include "support/memory.h"
#include "support/memory_cgroup.h"
#include "vmm/units.h"

namespace vmm::bench {

#ifdef VMM_BENCH_VMMCTL

namespace {

constexpr int kTurns = 3;
constexpr std::uint64_t kRows = 1'000'000;  // of SQLite's table
constexpr int kPythonScale = 8;
constexpr int kKeys = 200'000, kValueBytes = 1024;
constexpr int kRequests = 200'000;

std::string quoted(const std::string& word) { return "'" + word + "'"; }

// How a program is run: its words in front.
struct Way {
  std::string prefix;
  std::unique_ptr<MemoryCgroup> group;

  // A shell's words that put it into the group, and then run what follows.
  std::string command(const std::string& program) const {
    const std::string enter = group ? "echo $$ > " + quoted(group->path() + "/cgroup.procs") + "; " : "";
    return enter + "exec " + prefix + program;
  }
};

std::unique_ptr<MemoryCgroup> new_group() {
  std::string reason;
  auto group = MemoryCgroup::create(reason);
  if (group == nullptr) throw std::runtime_error(reason);
  return group;
}

Way ours(const Settings& settings, std::uint64_t memory) {
  return {std::string(VMM_BENCH_VMMCTL) + " run --no-stats-socket --memory " + std::to_string(memory) +
              " --swap-directory " + quoted(settings.directory) + " -- ",
          new_group()};
}

Way kernels(std::uint64_t memory) {
  Way way{"", new_group()};
  if (!way.group->limit(memory)) throw std::runtime_error("cannot limit " + way.group->path());
  return way;
}

// By a signal: as the kernel ends what it finds no memory for in its group, although there is swap.
struct Killed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string output_of(const std::string& command) {
  Child child({"sh", "-c", command});
  std::string all;
  for (std::string line = child.read_line(); !line.empty(); line = child.read_line()) all += line + "\n";
  if (const int status = child.wait(); status < 0) throw Killed("killed: " + command);
  else if (status != 0) throw std::runtime_error("status " + std::to_string(status) + " of " + command);
  return all;
}

// Prepared for a way, then timed, then ended; returns what it has found out.
struct Work {
  std::string name;
  std::function<std::string(const Way&, double& took)> run;
};

Work program(const std::string& name, const std::string& command) {
  return {name, [command](const Way& way, double& took) {
            std::string output;
            took = seconds([&] { output = output_of(way.command(command)); });
            return output;
          }};
}

// The server is filled; then clients read and write at random, which is timed; then all that was filled is read.
Work redis(const std::string& directory) {
  return {"redis", [directory](const Way& way, double& took) {
            const std::string socket = directory + "/bench-run.sock",
                              cli = "redis-cli --raw -s " + quoted(socket) + " ";
            // The server goes by its other name, under which it comes without a service.
            const std::string program = directory + "/redis-server";
            if (::access(program.c_str(), X_OK) != 0 && ::symlink("/usr/bin/redis-check-rdb", program.c_str()) != 0)
              throw std::runtime_error("cannot make " + program);
            Child server({"sh", "-c",
                          way.command(quoted(program) + " --port 0 --save '' --appendonly no --daemonize no --dir " +
                                      quoted(directory) + " --unixsocket " + quoted(socket) + " > /dev/null")});
            while (output_of(cli + "PING 2> /dev/null || true") != "PONG\n") settle();
            const std::string set = directory + "/bench-run.set", get = directory + "/bench-run.get";
            {
              std::ofstream sets(set), gets(get);
              const std::string rest(kValueBytes - 16, 'v');
              for (int i = 0; i < kKeys; ++i) {
                sets << text("SET key:%012d %016d", i, i) << rest << "\r\n";
                gets << text("GET key:%012d\n", i);
              }
            }
            output_of(cli + "--pipe < " + quoted(set));
            took = seconds([&] {
              output_of("redis-benchmark -s " + quoted(socket) + " -q -t get -n " + std::to_string(kRequests) + " -r " +
                        std::to_string(kKeys) + " > /dev/null");
            });
            const auto sum = output_of(cli + "< " + quoted(get) + " | md5sum");
            output_of(cli + "SHUTDOWN NOSAVE 2> /dev/null || true");
            for (const auto& file : {set, get, program}) std::remove(file.c_str());
            return sum;
          }};
}

std::string sql(const Settings& settings) {
  std::ifstream file(VMM_RUN_WORK "/table.sql");
  std::string lines{std::istreambuf_iterator<char>(file), {}};
  for (const std::string small = "120000"; lines.find(small) != std::string::npos;)
    lines.replace(lines.find(small), small.size(), std::to_string(kRows));
  const auto path = settings.directory + "/bench-run.sql";
  std::ofstream(path) << lines;
  return path;
}

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(MiB); }

void compare(const Settings& settings, Report& report, const Work& work) {
  double alone_took = 0;
  Way alone{"", new_group()};
  const auto expected = work.run(alone, alone_took);
  const std::uint64_t peak = alone.group->peak(), memory = peak / 2;
  std::uint64_t most = 0;
  const auto run = [&](const Way& way) {
    double took = 0;
    if (work.run(way, took) != expected) throw std::runtime_error(work.name + ": another output than by itself");
    return took;
  };
  // The least, in tenths, in which the kernel has not killed it.
  std::uint64_t given = memory;
  const auto in_a_group = [&] {
    for (;; given += memory / 10) {
      try {
        return run(kernels(given));
      } catch (const Killed&) {
        if (given > peak) throw;
      }
    }
  };
  const auto pair = take_turns(
      kTurns,
      [&] {
        const Way way = ours(settings, memory);
        const double took = run(way);
        most = std::max(most, way.group->peak());
        return took;
      },
      in_a_group);
  report.note("run of " + work.name + ", against the kernel's swap", pair.ratio(),
              text("%.1f s by vmmctl run in %.0f MiB, %.1f s in a control group of %.0f MiB%s; %.1f s by itself, in "
                   "%.0f MiB",
                   pair.ours.median(), mib(memory), pair.peer.median(), mib(given),
                   given > memory ? ", for the kernel killed it in less" : "", alone_took, mib(peak)));
  report.note("most in the group of vmmctl run / its budget (" + work.name + ")",
              static_cast<double>(most) / static_cast<double>(memory),
              text("%.1f MiB of %.1f", mib(most), mib(memory)));
}

}  // namespace

void compare_run(const Settings& settings, Report& report) {
  std::unique_ptr<KernelSwap> swap;
  try {
    swap = std::make_unique<KernelSwap>(settings.program, settings.directory, 2 * GiB);
  } catch (const std::runtime_error& e) {
    return report.skipped("run, against the kernel's swap", e.what());
  }
  const auto query = sql(settings);
  const std::vector<Work> all = {
      program("python3", "env SCALE=" + std::to_string(kPythonScale) + " python3 " VMM_RUN_WORK "/table.py"),
      program("sqlite3", "sqlite3 :memory: '.read " + query + "'"),
      redis(settings.directory),
  };
  for (const Work& work : all) {
    try {
      compare(settings, report, work);
    } catch (const std::exception& e) {
      report.failed("run of " + work.name, e.what());
    }
  }
  std::remove(query.c_str());
}

#else

void compare_run(const Settings&, Report& report) {
  report.skipped("run, against the kernel's swap", "vmmctl is not built (VMM_BUILD_TOOLS)");
}

#endif

}  // namespace vmm::bench
