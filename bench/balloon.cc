// The block cache of examples/balloon_vs_swap in three guests: of one the host takes memory by balloon, of one by swap,
// and one was created that much smaller.
#include <cinttypes>
#include <memory>
#include <string>
#include <utility>

#include "balloon_vs_swap/contender.h"
#include "comparisons.h"
#include "support/hosts.h"
#include "support/measure.h"

namespace vmm::bench {
namespace {

using balloon_vs_swap::Contender;
using balloon_vs_swap::Way;

constexpr std::uint64_t kMemory = 128 * MiB;
constexpr int kTimes = 5;        // memory is taken
constexpr int kTurns = 4;        // of work each time
constexpr double kTurn = 0.3;    // seconds
constexpr double kSettle = 0.6;  // seconds of work before the first

// The same memory is taken several times; a host and its guests each time.
struct Taken {
  Pair time;                    // balloon, swap
  Samples to_swap, to_born;     // the balloon's work / theirs
  Samples balloon, swap, born;  // operations per second
  std::uint64_t hits[3] = {}, looks[3] = {};  // in the caches, by Way
  std::uint64_t swapped_by_balloon = 0, swapped_in = 0, wrong = 0;

  double hit_rate(Way way) const {  // percent
    const auto i = static_cast<std::size_t>(way);
    return 100 * static_cast<double>(hits[i]) / static_cast<double>(looks[i]);
  }
};

std::unique_ptr<Contender> loaded(Host& host, balloon_vs_swap::BlockFile& file, Way way, std::uint64_t bytes) {
  auto contender = value_of(Contender::create(host, file, way, kMemory, bytes));
  contender->load();
  return contender;
}

void measure_once(const Settings& settings, balloon_vs_swap::BlockFile& file, std::uint64_t bytes, bool balloon_first,
                  Taken& taken) {
  auto host = value_of(balloon_vs_swap::make_host(kMemory, settings.directory));
  const auto balloon = loaded(host, file, Way::balloon, bytes);
  const auto swap = loaded(host, file, Way::swap, bytes);
  const auto born = loaded(host, file, Way::born, bytes);
  settle();
  double seconds[2] = {};
  for (const bool by_balloon : {balloon_first, !balloon_first})
    seconds[by_balloon ? 0 : 1] = value_of((by_balloon ? balloon : swap)->take());
  taken.time.ours.add(seconds[0]);
  taken.time.peer.add(seconds[1]);
  for (auto* contender : {balloon.get(), swap.get(), born.get()}) contender->work(kSettle);
  const auto add_looks = [&](bool after) {
    for (auto* contender : {balloon.get(), swap.get(), born.get()}) {
      const auto way = static_cast<std::size_t>(contender->way());
      const auto cache = contender->cache();
      taken.hits[way] += after ? cache.hits : 0 - cache.hits;
      taken.looks[way] += after ? cache.hits + cache.misses : 0 - cache.hits - cache.misses;
    }
  };
  add_looks(false);
  for (int turn = 0; turn < kTurns; ++turn) {
    // There and back, so that the others follow the one that swaps equally often.
    Contender* order[] = {balloon.get(), swap.get(), born.get()};
    if (turn % 2 != 0) std::swap(order[0], order[2]);
    double rates[3] = {};
    for (auto* contender : order) {
      rates[static_cast<std::size_t>(contender->way())] = contender->work(kTurn);
      settle();
    }
    const auto [a, b, c] = rates;
    taken.balloon.add(a);
    taken.swap.add(b);
    taken.born.add(c);
    taken.to_swap.add(a / b);
    taken.to_born.add(a / c);
  }
  add_looks(true);
  taken.swapped_by_balloon += balloon->stats().swapped_out;
  taken.swapped_in += swap->stats().swapped_in;
  for (auto* contender : {balloon.get(), swap.get(), born.get()}) taken.wrong += contender->cache().wrong;
}

}  // namespace

void compare_balloon(const Settings& settings, Report& report) {
  balloon_vs_swap::BlockFile file(settings.directory, kMemory / balloon_vs_swap::BlockFile::kBlock * 5 / 4);
  for (const std::uint64_t percent : {10U, 25U, 40U}) {
    const auto bytes = kMemory / 100 * percent / kPageSize * kPageSize;
    Taken taken;
    for (int i = 0; i < kTimes; ++i) measure_once(settings, file, bytes, i % 2 == 0, taken);
    if (taken.wrong != 0) throw std::runtime_error(text("%" PRIu64 " blocks were wrong", taken.wrong));
    const auto what = text(" (%" PRIu64 " %% of %" PRIu64 " MiB)", percent, kMemory / MiB);
    report.at_least("swap / balloon, time to take memory" + what, 1 / taken.time.ratio(), 1.0,
                    text("%.0f and %.0f ms", taken.time.peer.median() * 1e3, taken.time.ours.median() * 1e3));
    report.at_least("balloon / swap, work afterwards" + what, taken.to_swap.median(), 1.0,
                    text("%.0f and %.0f blocks/s; %.0f MiB of the balloon's guests were swapped out, %.0f MiB swapped "
                         "in in the others",
                         taken.balloon.median(), taken.swap.median(),
                         static_cast<double>(taken.swapped_by_balloon) / static_cast<double>(MiB),
                         static_cast<double>(taken.swapped_in) / static_cast<double>(MiB)));
    report.at_least("ballooned / created that size, work" + what, taken.to_born.median(), 0.95,
                    text("%.0f and %.0f blocks/s; %.1f and %.1f %% were in the caches", taken.balloon.median(),
                         taken.born.median(), taken.hit_rate(Way::balloon), taken.hit_rate(Way::born)));
  }
}

}  // namespace vmm::bench
