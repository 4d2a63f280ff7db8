#include "base/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

#include "base/random.h"

namespace vmm::base {
namespace {

constexpr std::uint64_t kGreatestExact = (std::uint64_t{1} << 43) - 1;

// What index() and upper_edge() promise together, for one value.
void check_step(std::uint64_t ns) {
  const std::size_t cell = Histogram::index(ns);
  const std::uint64_t edge = Histogram::upper_edge(cell);
  EXPECT_GE(edge, ns) << ns;
  EXPECT_EQ(Histogram::index(edge), cell) << ns;
  if (cell > 0) {
    EXPECT_LT(Histogram::upper_edge(cell - 1), ns) << ns;
  }
  EXPECT_LE(edge - ns, ns / 16) << ns << ": more than 1/16 too much";
}

TEST(Histogram, TheStepOfAValueHoldsItWithinASixteenth) {
  for (std::uint64_t ns = 0; ns < 100000; ++ns) check_step(ns);
  for (int power = 5; power <= 43; ++power) {
    const std::uint64_t p = std::uint64_t{1} << power;
    check_step(p - 1);
    if (p < kGreatestExact) {
      check_step(p);
      check_step(p + 1);
    }
  }
  Random random(1);
  for (int i = 0; i < 100000; ++i) check_step(random.below(std::uint64_t{1} << (1 + random.below(43))));
}

TEST(Histogram, StepsFollowEachOtherWithoutGapOrOverlap) {
  for (std::size_t cell = 1; cell < 640; ++cell) {
    EXPECT_GT(Histogram::upper_edge(cell), Histogram::upper_edge(cell - 1));
    EXPECT_EQ(Histogram::index(Histogram::upper_edge(cell - 1) + 1), cell);
  }
}

TEST(Histogram, GreaterValuesFallIntoTheLastStep) {
  EXPECT_EQ(Histogram::upper_edge(639), kGreatestExact);
  EXPECT_EQ(Histogram::index(kGreatestExact + 1), 639U);
  EXPECT_EQ(Histogram::index(std::numeric_limits<std::uint64_t>::max()), 639U);
}

TEST(Histogram, EmptyIsZero) {
  const Histogram h;
  const LatencySummary s = h.summary();
  EXPECT_EQ(s.count, 0U);
  EXPECT_EQ(s.p50_ns, 0U);
  EXPECT_EQ(s.p99_ns, 0U);
  EXPECT_EQ(s.max_ns, 0U);
}

TEST(Histogram, OneValueIsEveryQuantile) {
  for (const std::uint64_t ns : {std::uint64_t{0}, std::uint64_t{7}, std::uint64_t{18123}, kGreatestExact}) {
    Histogram h;
    h.record(ns);
    const LatencySummary s = h.summary();
    EXPECT_EQ(s.count, 1U);
    EXPECT_EQ(s.p50_ns, ns);
    EXPECT_EQ(s.p99_ns, ns);
    EXPECT_EQ(s.max_ns, ns);
  }
}

TEST(Histogram, TheMaximumIsExact) {
  Histogram h;
  h.record(std::numeric_limits<std::uint64_t>::max());
  h.record(1);
  EXPECT_EQ(h.summary().max_ns, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(h.summary().count, 2U);
}

TEST(Histogram, QuantilesAgreeWithSortingWithinASixteenth) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    Random random(seed);
    Histogram h;
    std::vector<std::uint64_t> values;
    for (int i = 0; i < 20000; ++i) {
      // Spread over nine powers of two, as latencies are.
      const std::uint64_t ns = random.below(std::uint64_t{1} << (8 + random.below(9)));
      values.push_back(ns);
      h.record(ns);
    }
    std::sort(values.begin(), values.end());
    const LatencySummary s = h.summary();
    EXPECT_EQ(s.count, values.size());
    EXPECT_EQ(s.max_ns, values.back());
    const struct {
      std::uint64_t found, exact;
    } quantiles[] = {{s.p50_ns, values[values.size() / 2]}, {s.p99_ns, values[values.size() * 99 / 100]}};
    for (const auto& q : quantiles) {
      EXPECT_GE(q.found, q.exact) << seed;
      EXPECT_LE(q.found - q.exact, q.exact / 16) << seed;
    }
  }
}

TEST(Histogram, AddsUpToACoarserOne) {
  Histogram a, b;
  const std::uint64_t values[] = {0, 1, 1023, 1024, 2047, 2048, 1'000'000, (1U << 20) - 1, 1U << 20, kGreatestExact,
                                  std::numeric_limits<std::uint64_t>::max() / 4, (std::uint64_t{1} << 33) - 1,
                                  std::uint64_t{1} << 33};
  LatencyHistogram sum, expected;
  for (const auto ns : values) {
    a.record(ns);
    if (ns < 2048) b.record(ns);
  }
  const auto bucket_of = [](std::uint64_t ns) {
    std::size_t bucket = 0;
    while (ns > LatencyHistogram::up_to_ns(bucket)) ++bucket;
    return bucket;
  };
  for (const auto ns : values) {
    for (int times = ns < 2048 ? 2 : 1; times > 0; --times) {
      ++expected.counts[bucket_of(ns)];
      ++expected.count;
      expected.sum_ns += ns;
    }
  }
  a.add_to(sum);
  b.add_to(sum);
  EXPECT_EQ(sum.counts, expected.counts);
  EXPECT_EQ(sum.count, expected.count);
  EXPECT_EQ(sum.sum_ns, expected.sum_ns);
}

TEST(Histogram, CanBeReadWhileItIsWritten) {
  Histogram h;
  constexpr std::uint64_t kRecords = 200000;
  std::thread writer([&] {
    for (std::uint64_t i = 0; i < kRecords; ++i) h.record(i & 0xffff);
  });
  std::uint64_t last = 0;
  while (last < kRecords) {
    const LatencySummary s = h.summary();
    EXPECT_GE(s.count, last);
    EXPECT_LE(s.p50_ns, s.max_ns);
    EXPECT_LE(s.p50_ns, s.p99_ns);
    last = s.count;
  }
  writer.join();
  EXPECT_EQ(h.summary().count, kRecords);
  EXPECT_EQ(h.summary().max_ns, 0xffffU);
}

}  // namespace
}  // namespace vmm::base
