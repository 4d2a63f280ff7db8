#include <string>

#include "comparisons.h"
#include "support/hosts.h"
#include "support/measure.h"
#include "support/memory.h"

namespace vmm::bench {
namespace {

constexpr std::uint64_t kGuest = 512 * MiB;

// Touches the guest and the plain mapping in turn, both untouched at the beginning of each turn.
template <class Touch>
Pair first_touch(int turns, Guest& guest, PlainMapping& plain, Touch touch) {
  const auto from_nothing = [&](std::span<std::byte> memory) {
    settle();
    const double took = seconds([&] { touch(memory); });
    discard_all(guest);
    plain.drop();
    return took;
  };
  return take_turns(
      turns, [&] { return from_nothing(guest.memory()); }, [&] { return from_nothing(plain.memory()); });
}

std::string detail(const Pair& pair, std::uint64_t pages) {
  const auto count = static_cast<double>(pages);
  return text("%.3f us a page, plain mmap %.3f", pair.ours.median() / count * 1e6, pair.peer.median() / count * 1e6);
}

}  // namespace

void compare_managed(const Settings& settings, Report& report) {
  HostOptions options;
  options.memory = 4 * GiB;
  options.swap_directory = settings.directory;
  options.management = Management::at_creation;
  for (const auto pages : {Pages::small, Pages::huge}) {
    auto host = make_host(options);
    auto guest = make_guest(host, kGuest, pages);
    PlainMapping plain(kGuest, pages);
    if (!guest.stats()->managed) throw std::runtime_error("the guest is not managed");
    const std::string kind = std::string(" (") + to_string(pages) + ")";

    const auto in_order = first_touch(31, guest, plain, [](auto memory) { touch_all(memory); });
    report.at_most("managed first touch in order" + kind, in_order.ratio(), 1.0, detail(in_order, kGuest / kPageSize));

    const auto order = shuffled(kGuest / kPageSize, 11);
    const auto scattered = first_touch(7, guest, plain, [&](auto memory) { touch_in_order(memory, order); });
    report.at_most("managed first touch scattered" + kind, scattered.ratio(), 8.0, detail(scattered, order.size()));

    const auto few = shuffled(kGuest / kPageSize, 13, 16);
    const auto sparse = first_touch(7, guest, plain, [&](auto memory) { touch_in_order(memory, few); });
    report.note("managed first touch of every 16th page, scattered" + kind, sparse.ratio(), detail(sparse, few.size()));

    if (pages == Pages::huge) {
      touch_all(guest.memory());
      touch_all(plain.memory());
      const auto ours = read_smaps(guest.memory()).huge, peer = read_smaps(plain.memory()).huge;
      report.note("managed AnonHugePages", peer == 0 ? 1.0 : static_cast<double>(ours) / static_cast<double>(peer),
                  text("%llu MiB, plain mmap %llu", static_cast<unsigned long long>(ours / MiB),
                       static_cast<unsigned long long>(peer / MiB)));
    }
  }
}

}  // namespace vmm::bench
