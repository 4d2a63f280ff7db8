#include <string>

#include "comparisons.h"
#include "support/hosts.h"
#include "support/measure.h"
#include "support/memory.h"

namespace vmm::bench {
namespace {

constexpr std::uint64_t kGuest = 256 * MiB;
constexpr std::uint64_t kAccesses = 1 << 20;
constexpr double kBound = 1.02;

}  // namespace

void compare_native(const Settings& settings, Report& report) {
  HostOptions options;
  options.memory = 4 * GiB;
  options.swap_directory = settings.directory;
  for (const auto pages : {Pages::small, Pages::huge}) {
    auto host = make_host(options);
    auto guest = make_guest(host, kGuest, pages);
    PlainMapping plain(kGuest, pages);
    const std::string kind = std::string(" (") + to_string(pages) + ")";
    // Each turn begins with both untouched: who comes first gets the pages that were freed last, and takes turns.
    Pair touch, access;
    const int turns = pages == Pages::small ? 31 : 61;
    for (int i = -1; i < turns; ++i) {
      discard_all(guest);
      plain.drop();
      settle();
      double touched[2]{}, accessed[2]{};
      const std::span<std::byte> memory[2] = {guest.memory(), plain.memory()};
      for (const int k : {0, 1}) {
        const int which = (k + i + 2) % 2;
        touched[which] = seconds([&] { touch_all(memory[which]); });
      }
      for (const int k : {0, 1}) {
        const int which = (k + (i + 2) / 2) % 2;
        accessed[which] = seconds([&] { access_randomly(memory[which], kAccesses, 7); });
      }
      if (i < 0) continue;
      touch.ours.add(touched[0]);
      touch.peer.add(touched[1]);
      access.ours.add(accessed[0]);
      access.peer.add(accessed[1]);
    }
    if (guest.stats()->managed) throw std::runtime_error("the guest is managed, although its host has room");
    constexpr double kPages = kGuest / kPageSize;
    report.at_most("native first touch" + kind, touch.ratio(), kBound,
                   text("%.3f us a page, plain mmap %.3f", touch.ours.median() / kPages * 1e6,
                        touch.peer.median() / kPages * 1e6));
    report.at_most("native random access" + kind, access.ratio(), kBound,
                   text("%.1f ns, plain mmap %.1f", access.ours.median() / kAccesses * 1e9,
                        access.peer.median() / kAccesses * 1e9));
    if (pages == Pages::huge) {
      const auto ours = read_smaps(guest.memory()).huge, peer = read_smaps(plain.memory()).huge;
      const double ratio = peer == 0 ? (ours == 0 ? 1.0 : 0.0) : static_cast<double>(ours) / static_cast<double>(peer);
      report.at_least("native AnonHugePages", ratio, 1.0,
                      text("%llu MiB, plain mmap %llu", static_cast<unsigned long long>(ours / MiB),
                           static_cast<unsigned long long>(peer / MiB)));
    }
  }
}

}  // namespace vmm::bench
