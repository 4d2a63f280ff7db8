// Samples against the truth: periods in which the test touches a known part of a guest, in random order and in order,
// where windows bring neighbours. The seeds are fixed: what is counted follows from the choices alone.
#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "policy/active_memory.h"
#include "reclaim/discard.h"
#include "reclaim/sampler.h"
#include "support/kernel_view.h"
#include "support/sampling.h"

namespace vmm {
namespace {

using policy::standard_error;
using reclaim::Sampler;
using region::PageState;
using test::NodeRig;

class SamplerStatistics : public test::EachWay {};
VMM_EACH_WAY(SamplerStatistics);

constexpr int kPeriods = 200;

struct Tally {
  int within_two_errors = 0;
  int within_five_points = 0;
};

// One period after another; each touches a known part of the guest after `prepare`. Every sample is exactly what was
// touched of the pages that were watched, whatever came with them.
template <class Prepare>
Tally sample_periods(NodeRig& rig, test::RigGuest& guest, std::uint64_t n, int periods, test::Contents& contents,
                     Prepare prepare) {
  Tally tally;
  Sampler sampler(guest.memory());
  base::Random random(20020912);
  const auto all = guest->pages();
  for (int period = 0; period < periods; ++period) {
    prepare(random);
    rig.settle(guest);
    const auto faults_before = guest->counters.sample_faults.load();
    EXPECT_EQ(sampler.begin(n, rig.now(), random), n);
    const auto watched = test::watched_pages(guest);
    EXPECT_EQ(watched.size(), n);
    std::uint64_t in_staging = 0;
    const auto count = static_cast<std::uint64_t>(period % 21) * all / 20;
    auto touched = test::random_pages(count, all, random);
    if (period % 2 == 0) std::sort(touched.begin(), touched.end());
    std::vector<bool> is_touched(all);
    for (const auto page : touched) is_touched[page] = true;
    std::uint64_t expected = 0;
    for (const auto page : watched) {
      expected += is_touched[page] ? 1 : 0;
      in_staging += is_touched[page] && guest.state(page) == PageState::isolated ? 1 : 0;
    }
    for (const auto page : touched) contents.touch(page, random);
    EXPECT_EQ(sampler.so_far().touched, expected) << "period " << period;
    rig.settle(guest);
    const auto sample = sampler.end();
    EXPECT_EQ(sample.pages, n);
    EXPECT_EQ(sample.touched, expected) << "period " << period;
    EXPECT_EQ(guest->counters.sample_faults.load() - faults_before, in_staging) << "one fault for each, and no more";
    const double f = static_cast<double>(count) / static_cast<double>(all);
    const double off = std::abs(sample.fraction() - f);
    tally.within_two_errors += off <= 2 * standard_error(f, n, all) + 1e-12 ? 1 : 0;
    tally.within_five_points += off <= 0.05 + 1e-12 ? 1 : 0;
    if (testing::Test::HasFailure()) break;
  }
  EXPECT_TRUE(test::watched_pages(guest).empty());
  EXPECT_EQ(guest->counters.staging.load(), 0u);
  return tally;
}

TEST_P(SamplerStatistics, RawSamplesAreWithinTwoStandardErrorsOfTheTruth) {
  NodeRig rig(GetParam());
  test::RigGuestOptions options;
  options.pages = 4096;
  auto& guest = rig.add(options);
  test::Contents contents(guest);
  contents.write_all();
  const auto faults = guest->counters.faults.load();
  const auto tally = sample_periods(rig, guest, 100, kPeriods, contents, [](auto&) {});
  EXPECT_GE(tally.within_two_errors, kPeriods * 95 / 100);
  EXPECT_EQ(guest->counters.faults.load() - faults, guest->counters.sample_faults.load()) << "that is all it costs";
  EXPECT_GT(guest->counters.sample_wait_ns.load(), guest->counters.sample_faults.load()) << "more than a nanosecond each";
  EXPECT_EQ(contents.wrong(), "");
  EXPECT_EQ(test::resident_pages(guest.at(0), 4096), 4096u);
  EXPECT_EQ(rig.credit().charged(), 4096u);
}

TEST_P(SamplerStatistics, FourHundredPagesAreWithinFivePoints) {
  NodeRig rig(GetParam());
  test::RigGuestOptions options;
  // 400 of 512 pages: five points are more than four standard errors. Of 4096 they are two.
  options.pages = 512;
  auto& small = rig.add(options);
  test::Contents small_contents(small);
  small_contents.write_all();
  EXPECT_EQ(sample_periods(rig, small, 400, kPeriods, small_contents, [](auto&) {}).within_five_points, kPeriods);
  EXPECT_EQ(small_contents.wrong(), "");
  options.pages = 4096;
  auto& large = rig.add(options);
  test::Contents large_contents(large);
  large_contents.write_all();
  const auto tally = sample_periods(rig, large, 400, kPeriods, large_contents, [](auto&) {});
  EXPECT_GE(tally.within_five_points, kPeriods * 95 / 100);
  EXPECT_EQ(large_contents.wrong(), "");
}

// Part in place, part in the swap file, part empty, part in staging: windows read, fill and rescue neighbours.
TEST_P(SamplerStatistics, WhereverPagesAre) {
  test::RigOptions generous;
  generous.roomy_free_pages = 0;
  NodeRig rig(GetParam(), generous);
  test::RigGuestOptions options;
  options.pages = 2048;
  auto& guest = rig.add(options);
  test::Contents contents(guest);
  contents.write_all();
  constexpr int kMixed = 63;
  const auto tally = sample_periods(rig, guest, 100, kMixed, contents, [&](base::Random& random) {
    rig.evict(guest);
    const auto first = random.below(1536);
    EXPECT_TRUE(reclaim::discard(guest.memory(), guest.pins(), first, 512));
    for (auto page = first; page < first + 512; ++page) contents.discarded(page);
    for (const auto page : test::random_pages(700, 2048, random)) contents.touch(page, random);
    rig.settle(guest);
    for (int round = 0; round < 5; ++round) guest.evictor().park(200, 8, rig.now());
    const auto s = guest->counters.swapped.load();
    EXPECT_TRUE(s > 0 && s < 2048);
  });
  EXPECT_GE(tally.within_two_errors, kMixed * 9 / 10);
  EXPECT_EQ(contents.wrong(), "");
  rig.settle(guest);
  EXPECT_EQ(guest->counters.resident.load(), test::resident_pages(guest.at(0), 2048));
}

}  // namespace
}  // namespace vmm
