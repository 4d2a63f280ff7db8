#include <string>

#include "comparisons.h"
#include "support/hosts.h"
#include "support/memory.h"

namespace vmm::bench {

void measure_metadata(const Settings& settings, Report& report) {
  constexpr std::uint64_t kGuest = 1 * GiB;
  HostOptions options;
  options.memory = 4 * GiB;
  options.swap_directory = settings.directory;
  auto host = make_host(options);
  const auto use_all = [](Guest& guest) {
    touch_all(guest.memory());
    static_cast<void>(value_of(guest.reclaim(guest.memory().size())));
    touch_all(guest.memory());
  };
  {
    // The node's buffers are touched once for all guests.
    auto first = make_guest(host, 64 * MiB, Pages::small, true);
    use_all(first);
  }
  const auto before = read_smaps();
  auto guest = make_guest(host, kGuest, Pages::small, true);
  use_all(guest);
  const auto after = read_smaps();
  const auto own = after.rss - before.rss - read_smaps(guest.memory()).rss;
  const auto percent = [](std::uint64_t bytes) { return 100.0 * static_cast<double>(bytes) / kGuest; };
  const auto stats = *guest.stats();
  report.at_most("metadata by stats, % of guest memory", percent(stats.metadata), 0.5,
                 text("%llu KiB for 1 GiB", static_cast<unsigned long long>(stats.metadata / KiB)));
  report.at_most("metadata by smaps, % of guest memory", percent(own), 0.5,
                 text("%llu KiB for 1 GiB, all pages once swapped", static_cast<unsigned long long>(own / KiB)));
}

}  // namespace vmm::bench
