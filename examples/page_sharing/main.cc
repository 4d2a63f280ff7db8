// page_sharing: guests that hold the images of files share their equal pages: what that saves, guest by guest, beside
// what the kernel says of the process and what can be saved at most. With --curve: one guest, two, ... up to all, and
// which part of their memory that gives back. (Waldspurger, "Memory Resource Management in VMware ESX Server", OSDI
// 2002, section 4: for one to ten guests that run the same it rises towards 67 %.)

#include <getopt.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string>

#include "page_sharing/sharing.h"
#include "plot/plot.h"
#include "vmm/units.h"

namespace page_sharing {
namespace {

struct Flags {
  Settings settings;
  bool curve = false;
  unsigned guests = 0;  // 0: the default
  unsigned guest_mib = 64;
  std::string svg;
};

constexpr unsigned kGuests = 3, kCurveGuests = 10;
constexpr double kPublished = 67;  // percent, of guests without number

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(vmm::MiB); }

double percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) * 100 / static_cast<double>(whole);
}

int usage(const char* program) {
  const Flags defaults;
  std::fprintf(
      stderr,
      "Usage: %s [flags] [FILE...]\n"
      "A guest for each FILE, a raw memory dump or disk image, holds its bytes. Without files guests are made\n"
      "that run the same: %u %% of each are pages of zeros, %u %% its own random words, the rest bytes of this\n"
      "machine's shared libraries in runs of 1 to 128 pages, in an order of its own.\n"
      "  --curve         one guest, then two, ... up to all: table and plot\n"
      "  --guests N      that are made (%u, with --curve %u; 1 to 64)\n"
      "  --guest N       MiB of each of them (%u; 1 to 4096)\n"
      "  --large-pages   guests ask for 2 MiB pages, which are shared in parts while memory is short only\n"
      "  --memory N      MiB of the host, where guests are swapped if they do not fit in (enough for all)\n"
      "  --swap-dir DIR  where the swap files are ($TMPDIR, else /var/tmp)\n"
      "  --svg FILE      writes the plot there too\n"
      "Exit status: 0, 1 a guest does not hold its image any more, 2 it could not be run.\n",
      program, static_cast<unsigned>(kZeroPercent), static_cast<unsigned>(kOwnPercent), kGuests, kCurveGuests,
      defaults.guest_mib);
  return 2;
}

bool number(const char* flag, unsigned least, unsigned most, unsigned& value) {
  const char* const end = optarg + std::strlen(optarg);
  const auto [rest, code] = std::from_chars(optarg, end, value);
  if (code == std::errc() && rest == end && value >= least && value <= most) return true;
  std::fprintf(stderr, "--%s %s: give a number from %u to %u\n", flag, optarg, least, most);
  return false;
}

bool parse(int argc, char** argv, Flags& flags) {
  static constexpr option kFlags[] = {
      {"curve", no_argument, nullptr, 'c'},        {"guests", required_argument, nullptr, 'n'},
      {"guest", required_argument, nullptr, 'g'},  {"large-pages", no_argument, nullptr, 'l'},
      {"memory", required_argument, nullptr, 'm'}, {"swap-dir", required_argument, nullptr, 'd'},
      {"svg", required_argument, nullptr, 'o'},    {nullptr, 0, nullptr, 0},
  };
  int index = 0;
  for (int flag; (flag = getopt_long(argc, argv, "", kFlags, &index)) != -1;) {
    unsigned value = 0;
    switch (flag) {
      case 'c': flags.curve = true; break;
      case 'n':
        if (!number("guests", 1, 64, flags.guests)) return false;
        break;
      case 'g':
        if (!number("guest", 1, 4096, flags.guest_mib)) return false;
        break;
      case 'l': flags.settings.large_pages = true; break;
      case 'm':
        if (!number("memory", 16, 1U << 30, value)) return false;
        flags.settings.memory = value * vmm::MiB;
        break;
      case 'd': flags.settings.swap_directory = optarg; break;
      case 'o': flags.svg = optarg; break;
      default: return false;
    }
  }
  if (!flags.svg.empty() && !flags.curve) {
    std::fprintf(stderr, "--svg %s: there is a plot with --curve only\n", flags.svg.c_str());
    return false;
  }
  if (optind < argc && flags.guests != 0) {
    std::fprintf(stderr, "--guests %u: guests are made only where no files are given\n", flags.guests);
    return false;
  }
  return true;
}

vmm::Result<std::vector<Image>> images_of(const Flags& flags, std::span<char* const> paths) {
  if (paths.empty()) {
    const unsigned guests = flags.guests != 0 ? flags.guests : flags.curve ? kCurveGuests : kGuests;
    return made_images(guests, flags.guest_mib * vmm::MiB);
  }
  std::vector<Image> images;
  for (const char* path : paths) {
    auto image = image_file(path);
    if (!image) return tl::unexpected(image.error());
    images.push_back(std::move(*image));
  }
  return images;
}

// 0 or 1, the exit status.
int check(const Outcome& outcome) {
  int status = 0;
  for (const auto& guest : outcome.guests)
    if (!guest.intact) {
      std::fprintf(stderr, "%s does not hold its image any more\n", guest.stats.name.c_str());
      status = 1;
    }
  return status;
}

// Of a guest or a host: the statistics of both have the same names.
template <class Stats>
void print_guest(const char* name, std::uint64_t memory, const PageCount& held, const Stats& s) {
  std::printf("%-24.24s %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f\n", name, mib(memory), mib(held.zero),
              mib(held.spare()), mib(s.shared), mib(s.shared_common), mib(s.shared_saved), mib(s.shared_zero),
              mib(s.shared_within), mib(s.shared_between));
}

// Microseconds of processor time for each page saved.
double per_page(const Outcome& o) {
  return o.first_look * 1e6 / static_cast<double>(std::max(o.saved() / vmm::kPageSize, std::uint64_t{1}));
}

void print_outcome(const Outcome& o) {
  std::printf("%-24s %9s %19s %49s\n", "", "", "held, MiB", "shared, MiB");
  std::printf("%-24s %9s %9s %9s %9s %9s %9s %9s %9s %9s\n", "guest", "MiB", "zeros", "alike", "shared", "common",
              "saved", "by zeros", "within", "between");
  vmm::GuestStats all;
  for (const auto& g : o.guests) {
    const auto& s = g.stats;
    print_guest(s.name.c_str(), s.memory, g.held, s);
    all.memory += s.memory;
    all.share_changing += s.share_changing;
    all.share_huge += s.share_huge;
    all.share_refused += s.share_refused;
  }
  print_guest("host", all.memory, o.held, o.host);
  std::printf(
      "(zeros, alike: counted in the images; of a guest alone, alike is what it could save without the others)\n");

  const auto saved = o.saved(), can_be = o.held.spare();
  std::printf("\nsaved: %.1f MiB, %.1f %% of the guests' memory; %.1f MiB can be, of which that is %.1f %%\n",
              mib(saved), percent(saved, all.memory), mib(can_be), percent(saved, can_be));
  std::printf(
      "not shared: %.1f MiB for want of mappings or kept by the kernel, %.1f MiB parts of large pages, "
      "%.1f MiB changing\n",
      mib(all.share_refused), mib(all.share_huge), mib(all.share_changing));
  std::printf("processor time: %.0f ms", o.first_look * 1e3);
  if (saved > 0) std::printf(", %.2f us a page saved", per_page(o));
  std::printf("; %.0f ms for one more look\n", o.second_look * 1e3);
  std::printf(
      "the kernel, of the process: Pss %.1f MiB before and %.1f MiB after (%+.1f); Rss, where a page counts as "
      "often\nas it is shown, %.1f and %.1f MiB\n",
      mib(o.before.proportional), mib(o.after.proportional), mib(o.after.proportional) - mib(o.before.proportional),
      mib(o.before.resident), mib(o.after.resident));
}

int fail(const vmm::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return 2;
}

int run_once(const Flags& flags, std::span<const Image> images) {
  const auto outcome = share_images(flags.settings, images);
  if (!outcome) return fail(outcome.error());
  print_outcome(*outcome);
  return check(*outcome);
}

// What of n guests is reclaimed that have kPublished percent alike: one copy stays.
double published(std::size_t guests) { return kPublished * (1 - 1 / static_cast<double>(guests)); }

int run_curve(const Flags& flags, std::span<const Image> images) {
  std::printf("percent of the guests' memory\n\n");
  std::printf("%6s %9s %9s %9s %9s %9s %9s %9s %12s\n", "guests", "MiB", "shared", "reclaimed", "can be", "published",
              "Pss, MiB", "after", "us a page");
  plot::Chart chart{"Memory reclaimed from guests that run the same",
                    "guests",
                    "%",
                    {{"shared", {}}, {"published", {}}, {"reclaimed", {}}},
                    {}};
  int status = 0;
  for (std::size_t n = 1; n <= images.size(); ++n) {
    const auto o = share_images(flags.settings, images.first(n));
    if (!o) return fail(o.error());
    status = std::max(status, check(*o));
    const double shared = percent(o->host.shared, o->held.all);
    const double reclaimed = percent(o->saved(), o->held.all);
    std::printf("%6zu %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f %12.2f\n", n, mib(o->held.all), shared, reclaimed,
                percent(o->held.spare(), o->held.all), published(n), mib(o->before.proportional),
                mib(o->after.proportional), per_page(*o));
    std::fflush(stdout);
    const auto x = static_cast<double>(n);
    chart.curves[0].points.push_back({x, shared});
    chart.curves[1].points.push_back({x, published(n)});
    chart.curves[2].points.push_back({x, reclaimed});
  }
  std::printf(
      "(shared and reclaimed with pages of zeros; published: what of n guests is given back that have 67 %% "
      "alike)\n\n%s",
      plot::text(chart).c_str());
  const plot::Chart charts[] = {chart};
  if (!flags.svg.empty() && !plot::write_svg(flags.svg, charts)) {
    std::perror(flags.svg.c_str());
    return 2;
  }
  return status;
}

int run_program(int argc, char** argv) {
  Flags flags;
  if (!parse(argc, argv, flags)) return usage(argv[0]);
  const auto images = images_of(flags, std::span(argv, static_cast<std::size_t>(argc)).subspan(optind));
  if (!images) return fail(images.error());
  return flags.curve ? run_curve(flags, *images) : run_once(flags, *images);
}

}  // namespace
}  // namespace page_sharing

int main(int argc, char** argv) { return page_sharing::run_program(argc, argv); }
