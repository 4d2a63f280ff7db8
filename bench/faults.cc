#include <algorithm>
#include <string>
#include <vector>

#include "comparisons.h"
#include "support/hosts.h"
#include "support/measure.h"
#include "support/memory.h"
#include "support/minimal_loop.h"
#include "support/parked_guest.h"
#include "support/processors.h"

namespace vmm::bench {
namespace {

constexpr std::uint64_t kGuest = 256 * MiB;
constexpr std::size_t kTouches = 8192;
constexpr std::size_t kBlock = 64;
constexpr double kBound = 1.25;

enum class Access { read, write };

const char* to_string(Access access) { return access == Access::write ? "write" : "read"; }

// Touches pages of `ours` and of `peer`, blocks of each in turn, and times each touch by itself. `between` blocks the
// threads behind get their turn.
template <class Between>
Pair touch_singly(std::span<std::byte> ours, std::span<std::byte> peer, Access access, std::uint64_t seed,
                  Between between) {
  const auto order = shuffled(ours.size() / kPageSize, seed);
  Pair pair;
  for (std::size_t block = 0; block < kTouches; block += kBlock) {
    for (int k = 0; k < 2; ++k) {
      const bool first = (static_cast<std::size_t>(k) + block / kBlock) % 2 == 0;
      volatile std::byte* const memory = first ? ours.data() : peer.data();
      auto& samples = first ? pair.ours : pair.peer;
      for (auto i = block; i < block + kBlock; ++i) {
        volatile std::byte* const at = memory + order[i] * kPageSize;
        const double begin = now_seconds();
        if (access == Access::write)
          *at = std::byte{1};
        else
          static_cast<void>(*at);
        samples.add(now_seconds() - begin);
      }
    }
    between();
  }
  return pair;
}

void add(Report& report, const std::string& name, const Pair& pair) {
  report.at_most(name, pair.ours.median() / pair.peer.median(), kBound,
                 text("p50 %.1f us, minimal loop %.1f; p99 %.1f, %.1f", pair.ours.median() * 1e6,
                      pair.peer.median() * 1e6, pair.ours.quantile(0.99) * 1e6, pair.peer.quantile(0.99) * 1e6));
}

void compare_fills(const Settings& settings, Report& report, MinimalLoop& loop, BoundThreads::Where where) {
  // Free memory is never far above what is to be kept free, so that each fault brings its own page and no other,
  // and never below, so that nothing is reclaimed beside the measurement.
  HostOptions options;
  options.memory = 8 * kGuest;
  options.min_free = 0.5;
  options.swap_directory = settings.directory;
  options.management = Management::at_creation;
  auto host = make_host(options);
  auto guest = make_guest(host, kGuest, Pages::small);
  const BoundThreads bound(where);
  for (const auto access : {Access::write, Access::read}) {
    const auto before = guest.stats()->fills;
    const auto pair = touch_singly(guest.memory(), loop.memory(), access, 3, [] {});
    const auto fills = guest.stats()->fills - before;
    if (fills < kTouches * 9 / 10)
      throw std::runtime_error(
          text("only %llu of %zu touches were faults", static_cast<unsigned long long>(fills), kTouches));
    add(report, std::string("zero fill, ") + to_string(access) + ", " + BoundThreads::name(where), pair);
    discard_all(guest);
    loop.drop();
  }
}

void compare_rescues(const Settings& settings, Report& report, MinimalLoop& loop, BoundThreads::Where where) {
  ParkedGuest guest(kGuest, settings.directory);
  for (const auto access : {Access::write, Access::read}) {
    fill_incompressible(guest.memory(), 1);
    const auto parked = guest.park_all();
    if (parked < kGuest / kPageSize * 9 / 10)
      throw std::runtime_error(text("only %llu pages could be parked", static_cast<unsigned long long>(parked)));
    const auto before = guest.rescues();
    const BoundThreads bound(where);
    const auto pair = touch_singly(guest.memory(), loop.memory(), access, 5, [&] { guest.drop_leftovers(); });
    if (guest.rescues() - before < kTouches * 9 / 10) throw std::runtime_error("the touches were not rescues");
    add(report, std::string("rescue, ") + to_string(access) + ", " + BoundThreads::name(where), pair);
    loop.drop();
  }
}

}  // namespace

void compare_faults(const Settings& settings, Report& report) {
  MinimalLoop loop(kGuest);
  for (const auto where : {BoundThreads::Where::same_processor, BoundThreads::Where::other_processor}) {
    compare_fills(settings, report, loop, where);
    compare_rescues(settings, report, loop, where);
  }
}

}  // namespace vmm::bench
