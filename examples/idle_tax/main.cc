// idle_tax: what the tax on idle memory does. Two guests of 256 MiB with equal shares have 360 MiB between them; one
// works in all of its memory, the other does nothing. By shares alone both keep the same. With a tax of 75 % the idle
// one pays with its memory, and the other works faster. (Waldspurger, "Memory Resource Management in VMware ESX
// Server", OSDI 2002, section 5.4.)

#include <getopt.h>

#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string>

#include "idle_tax/experiment.h"
#include "plot/plot.h"

namespace idle_tax {
namespace {

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(vmm::MiB); }

int usage(const char* program) {
  const Settings defaults;
  std::fprintf(stderr,
               "Usage: %s [flags]\n"
               "  --seconds N    of work, half of them without the tax (%u; 4 to 3600)\n"
               "  --tax N        percent, in the second half (%.0f; 1 to 99)\n"
               "  --guest N      MiB of each of the two guests (%.0f)\n"
               "  --memory N     MiB for both (%.0f)\n"
               "  --sample N     seconds of a sampling period (%u)\n"
               "  --swap-dir DIR where the swap files are ($TMPDIR, else /var/tmp)\n"
               "  --svg FILE     writes the plots there too\n"
               "Exit status: 0, 1 a record was wrong, 2 it could not be run.\n",
               program, defaults.seconds, defaults.tax * 100, mib(defaults.guest), mib(defaults.memory),
               defaults.sample_seconds);
  return 2;
}

bool number(const char* text, unsigned least, unsigned most, unsigned& value) {
  const char* const end = text + std::strlen(text);
  const auto [rest, code] = std::from_chars(text, end, value);
  return code == std::errc() && rest == end && value >= least && value <= most;
}

bool parse(int argc, char** argv, Settings& settings, std::string& svg) {
  static constexpr option kFlags[] = {
      {"seconds", required_argument, nullptr, 's'}, {"tax", required_argument, nullptr, 't'},
      {"guest", required_argument, nullptr, 'g'},   {"memory", required_argument, nullptr, 'm'},
      {"sample", required_argument, nullptr, 'p'},  {"swap-dir", required_argument, nullptr, 'd'},
      {"svg", required_argument, nullptr, 'o'},     {nullptr, 0, nullptr, 0},
  };
  for (int flag; (flag = getopt_long(argc, argv, "", kFlags, nullptr)) != -1;) {
    unsigned value = 0;
    switch (flag) {
      case 's':
        if (!number(optarg, 4, 3600, settings.seconds)) return false;
        break;
      case 't':
        if (!number(optarg, 1, 99, value)) return false;
        settings.tax = value / 100.0;
        break;
      case 'g':
        if (!number(optarg, 8, 1U << 20, value)) return false;
        settings.guest = value * vmm::MiB;
        break;
      case 'm':
        if (!number(optarg, 8, 1U << 20, value)) return false;
        settings.memory = value * vmm::MiB;
        break;
      case 'p':
        if (!number(optarg, 1, 3600, settings.sample_seconds)) return false;
        break;
      case 'd': settings.swap_directory = optarg; break;
      case 'o': svg = optarg; break;
      default: return false;
    }
  }
  return optind == argc;
}

void print_row(const Row& r) {
  std::printf("%6.0f %5.0f %% %9.1f %9.1f %9.1f %9.1f %9.1f %12.0f\n", r.second, r.tax * 100, mib(r.idle_resident),
              mib(r.busy_resident), mib(r.idle_active), mib(r.busy_active), mib(r.process), r.operations);
  std::fflush(stdout);
}

void print_phase(const char* what, const Phase& phase) {
  std::printf("%-10s idle %6.1f MiB, busy %6.1f MiB, %.0f operations/s\n", what, mib(phase.idle_resident),
              mib(phase.busy_resident), phase.operations);
}

int run_program(int argc, char** argv) {
  Settings settings;
  std::string svg;
  if (!parse(argc, argv, settings, svg)) return usage(argv[0]);
  std::printf("two guests of %.0f MiB, equal shares, %.0f MiB for both; one is idle\n\n", mib(settings.guest),
              mib(settings.memory));
  std::printf("%6s %7s %19s %19s %9s %12s\n", "", "", "resident, MiB", "active, MiB", "process,", "operations");
  std::printf("%6s %7s %9s %9s %9s %9s %9s %12s\n", "second", "tax", "idle", "busy", "idle", "busy", "kernel",
              "/s, busy");
  const auto outcome = idle_tax::run(settings, print_row);
  if (!outcome) {
    std::fprintf(stderr, "%s\n", outcome.error().message().c_str());
    return 2;
  }

  plot::Chart memory{"Resident memory", "s", "MiB", {{"idle", {}}, {"busy", {}}}, {}};
  plot::Chart speed{"Work of the busy guest", "s", "operations/s", {{"busy", {}}}, {}};
  for (const Row& r : outcome->rows) {
    memory.curves[0].points.push_back({r.second, mib(r.idle_resident)});
    memory.curves[1].points.push_back({r.second, mib(r.busy_resident)});
    speed.curves[0].points.push_back({r.second, r.operations});
  }
  char name[32];
  std::snprintf(name, sizeof name, "tax %.0f %%", settings.tax * 100);
  memory.marks = speed.marks = {{static_cast<double>(settings.seconds / 2), name}};
  const plot::Chart charts[] = {memory, speed};
  for (const auto& chart : charts) std::printf("\n%s", plot::text(chart).c_str());

  std::printf("\nmeans of the second half of each:\n");
  print_phase("tax 0:", outcome->untaxed);
  print_phase((std::string(name) + ":").c_str(), outcome->taxed);
  std::printf("the busy guest: %.2f times the memory, %.2f times the work; %" PRIu64 " records were wrong\n",
              mib(outcome->taxed.busy_resident) / mib(outcome->untaxed.busy_resident),
              outcome->taxed.operations / outcome->untaxed.operations, outcome->wrong);
  if (!svg.empty() && !plot::write_svg(svg, charts)) {
    std::perror(svg.c_str());
    return 2;
  }
  return outcome->wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace idle_tax

int main(int argc, char** argv) { return idle_tax::run_program(argc, argv); }
