// balloon_vs_swap: the host takes a part of a guest's memory whose heap a block cache fills. By balloon the heap gives
// what is free and the cache gives up its oldest blocks; by swap the host writes the coldest pages to a file. Both
// beside a guest that was created that much smaller. (Waldspurger, "Memory Resource Management in VMware ESX Server",
// OSDI 2002, section 3.3: a ballooned guest is 1.4 to 4.4 % slower than one of that size.)

#include <getopt.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "balloon_vs_swap/contender.h"
#include "plot/plot.h"
#include "smaps/smaps.h"

namespace balloon_vs_swap {
namespace {

struct Settings {
  std::uint64_t memory = 128 * vmm::MiB;
  std::vector<unsigned> percents = {0, 10, 25, 40};
  unsigned turns = 14;
  std::string directory = "/var/tmp";
  std::string svg;
};

constexpr std::array kWays = {Way::balloon, Way::swap, Way::born};
constexpr double kTurn = 0.3;  // seconds

// What was found for one way, with one part taken.
struct Found {
  double take = 0;        // seconds
  double operations = 0;  // per second: median of the turns
  double hit_rate = 0;
  vmm::GuestStats stats;
};
struct Row {
  std::array<Found, kWays.size()> found;
  std::uint64_t process = 0;  // all that is resident of this process, as the kernel counts it; bytes
};

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(vmm::MiB); }

int usage(const char* program) {
  const Settings defaults;
  std::fprintf(stderr,
               "Usage: %s [flags]\n"
               "  --memory N     MiB of the guest (%.0f; 32 to 65536)\n"
               "  --take N,...   percent of it that the host takes (0,10,25,40; each 0 to 60)\n"
               "  --turns N      of %.1f s for each, in turn (%u; 1 to 1000)\n"
               "  --dir DIR      where the file of blocks and the swap files are (%s)\n"
               "  --svg FILE     writes the plots there too\n"
               "Exit status: 0, 1 a block was wrong, 2 it could not be run.\n",
               program, mib(defaults.memory), kTurn, defaults.turns, defaults.directory.c_str());
  return 2;
}

// Numbers with commas between them.
bool numbers(const char* text, unsigned least, unsigned most, std::vector<unsigned>& values) {
  values.clear();
  const char* const end = text + std::strlen(text);
  for (;;) {
    unsigned value = 0;
    const auto [rest, code] = std::from_chars(text, end, value);
    if (code != std::errc() || value < least || value > most) return false;
    values.push_back(value);
    if (rest == end) return true;
    if (*rest != ',') return false;
    text = rest + 1;
  }
}

bool parse(int argc, char** argv, Settings& settings) {
  static constexpr option kFlags[] = {
      {"memory", required_argument, nullptr, 'm'}, {"take", required_argument, nullptr, 't'},
      {"turns", required_argument, nullptr, 'n'},  {"dir", required_argument, nullptr, 'd'},
      {"svg", required_argument, nullptr, 'o'},    {nullptr, 0, nullptr, 0},
  };
  for (int flag; (flag = getopt_long(argc, argv, "", kFlags, nullptr)) != -1;) {
    std::vector<unsigned> one;
    switch (flag) {
      case 'm':
        if (!numbers(optarg, 32, 65536, one) || one.size() != 1) return false;
        settings.memory = one[0] * vmm::MiB;
        break;
      case 't':
        if (!numbers(optarg, 0, 60, settings.percents)) return false;
        break;
      case 'n':
        if (!numbers(optarg, 1, 1000, one) || one.size() != 1) return false;
        settings.turns = one[0];
        break;
      case 'd': settings.directory = optarg; break;
      case 'o': settings.svg = optarg; break;
      default: return false;
    }
  }
  return optind == argc;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// All three side by side, in turns: what else the machine does meets them alike.
vmm::Result<Row> measure(const Settings& settings, BlockFile& file, unsigned percent, std::uint64_t& wrong) {
  auto host = make_host(settings.memory, settings.directory);
  if (!host) return tl::unexpected(host.error());
  const auto taken = settings.memory / 100 * percent / vmm::kPageSize * vmm::kPageSize;
  Row row;
  std::vector<std::unique_ptr<Contender>> contenders;
  for (std::size_t i = 0; i < kWays.size(); ++i) {
    auto contender = Contender::create(*host, file, kWays[i], settings.memory, taken);
    if (!contender) return tl::unexpected(contender.error());
    contenders.push_back(std::move(*contender));
    contenders[i]->load();
    const auto seconds = contenders[i]->take();
    if (!seconds) return tl::unexpected(seconds.error());
    row.found[i].take = *seconds;
    contenders[i]->work(2 * kTurn);  // to be at home in what is left
  }
  row.process = smaps::anonymous();
  std::array<CacheFigures, kWays.size()> before;
  for (std::size_t i = 0; i < kWays.size(); ++i) before[i] = contenders[i]->cache();
  std::array<std::vector<double>, kWays.size()> rates;
  for (unsigned turn = 0; turn < settings.turns; ++turn)
    for (std::size_t i = 0; i < kWays.size(); ++i) {
      const auto who = turn % 2 == 0 ? i : kWays.size() - 1 - i;  // there and back
      rates[who].push_back(contenders[who]->work(kTurn));
    }
  for (std::size_t i = 0; i < kWays.size(); ++i) {
    const auto now = contenders[i]->cache();
    const auto hits = now.hits - before[i].hits, all = hits + now.misses - before[i].misses;
    row.found[i].operations = median(rates[i]);
    row.found[i].hit_rate = static_cast<double>(hits) / static_cast<double>(all);
    row.found[i].stats = contenders[i]->stats();
    wrong += now.wrong;
  }
  return row;
}

void print_head() {
  std::printf("%6s  %-8s %8s %9s %9s %9s %9s %9s %12s %9s\n", "taken", "way", "took, ms", "resident", "ballooned",
              "swapped", "swapped", "hit rate", "operations", "beside");
  std::printf("%6s  %-8s %8s %9s %9s %9s %9s %9s %12s %9s\n", "", "", "", "MiB", "MiB", "MiB", "in, MiB", "of cache",
              "/s", "born");
}

void print_row(unsigned percent, const Row& row) {
  for (std::size_t i = 0; i < kWays.size(); ++i) {
    const auto& f = row.found[i];
    std::printf("%4u %%  %-8s %8.1f %9.1f %9.1f %9.1f %9.1f %7.1f %% %12.0f %9.2f\n", percent, to_string(kWays[i]),
                f.take * 1e3, mib(f.stats.resident), mib(f.stats.ballooned), mib(f.stats.swapped),
                mib(f.stats.swapped_in), f.hit_rate * 100, f.operations, f.operations / row.found[2].operations);
  }
  std::printf("%6s  the kernel counts %.1f MiB for all three and the program\n", "", mib(row.process));
  std::fflush(stdout);
}

int run(const Settings& settings) {
  BlockFile file(settings.directory, settings.memory / BlockFile::kBlock * 5 / 4);
  std::printf(
      "a cache of 8 KiB blocks in a heap of %.0f MiB; a block that is not in it is read from a file of %.0f MiB\n\n",
      mib(settings.memory), mib(file.blocks() * BlockFile::kBlock));
  print_head();
  plot::Chart speed{"Work after the host has taken memory", "% taken", "operations/s", {}, {}};
  plot::Chart beside{"Beside a guest created that size", "% taken", "ratio", {}, {}};
  for (const Way way : kWays) speed.curves.push_back({to_string(way), {}});
  for (const Way way : {Way::balloon, Way::swap}) beside.curves.push_back({to_string(way), {}});
  std::uint64_t wrong = 0;
  for (const unsigned percent : settings.percents) {
    const auto row = measure(settings, file, percent, wrong);
    if (!row) {
      std::fprintf(stderr, "%s\n", row.error().message().c_str());
      return 2;
    }
    print_row(percent, *row);
    for (std::size_t i = 0; i < kWays.size(); ++i)
      speed.curves[i].points.push_back({static_cast<double>(percent), row->found[i].operations});
    for (std::size_t i = 0; i < 2; ++i)
      beside.curves[i].points.push_back(
          {static_cast<double>(percent), row->found[i].operations / row->found[2].operations});
  }
  const plot::Chart charts[] = {speed, beside};
  for (const auto& chart : charts) std::printf("\n%s", plot::text(chart).c_str());
  std::printf("\n%llu blocks were wrong\n", static_cast<unsigned long long>(wrong));
  if (!settings.svg.empty() && !plot::write_svg(settings.svg, charts)) {
    std::perror(settings.svg.c_str());
    return 2;
  }
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace balloon_vs_swap

int main(int argc, char** argv) try {
  balloon_vs_swap::Settings settings;
  if (!balloon_vs_swap::parse(argc, argv, settings)) return balloon_vs_swap::usage(argv[0]);
  return balloon_vs_swap::run(settings);
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 2;
}
