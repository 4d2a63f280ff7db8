#include "policy/cpu_division.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "base/random.h"

namespace vmm::policy {
namespace {

TEST(CpuDivision, Table) {
  struct Case {
    const char* name;
    double processors;
    std::vector<DividedGuest> guests;
    std::vector<double> received;
  };
  for (const Case& c : {
           Case{"nobody", 2, {}, {}},
           Case{"enough", 2, {{1, 1}, {1, 0.5}}, {1, 0.5}},
           Case{"by threads", 2, {{1, 1}, {3, 3}}, {0.5, 1.5}},
           Case{
               "who wants little has it", 2, {{1, 0.25}, {1, 1}, {1, 1}, {1, 1}}, {0.25, 1.75 / 3, 1.75 / 3, 1.75 / 3}},
           Case{"many threads that want little", 1, {{8, 0.5}, {1, 1}}, {0.5, 0.5}},
           Case{"many threads that want too much", 1, {{8, 1}, {1, 1}}, {8.0 / 9, 1.0 / 9}},
       }) {
    const CpuDivision division(c.processors, c.guests);
    for (std::size_t i = 0; i < c.guests.size(); ++i)
      EXPECT_NEAR(CpuDivision::received(c.guests[i], division.level()), c.received[i], 1e-12) << c.name << i;
  }
}

// What is told of one guest more or less is what a division with or without it tells.
TEST(CpuDivision, OneMoreOrLess) {
  base::Random random(3);
  for (int round = 0; round < 2000; ++round) {
    const auto guest = [&] {
      const double threads = 1 + static_cast<double>(random.below(8));
      return DividedGuest{threads, threads * random.unit(), 10 * random.unit() - 5};
    };
    const double processors = 1 + static_cast<double>(random.below(16));
    std::vector<DividedGuest> guests;
    for (std::uint64_t n = random.below(12); n > 0; --n) guests.push_back(guest());
    const CpuDivision division(processors, guests);
    double sum = 0;
    double given = 0;
    for (const DividedGuest& g : guests) {
      sum += g.weight * CpuDivision::received(g, division.level());
      given += CpuDivision::received(g, division.level());
    }
    EXPECT_NEAR(division.weighted_sum(division.level()), sum, 1e-9);
    EXPECT_NEAR(given, std::min(processors, division.wanted()), 1e-9);

    const DividedGuest more = guest();
    auto all = guests;
    all.push_back(more);
    const CpuDivision with(processors, all);
    const double level = division.level_with(more);
    if (std::isfinite(with.level()))
      EXPECT_NEAR(level, with.level(), 1e-9);
    else
      EXPECT_FALSE(std::isfinite(level));
    const double back = with.level_without(more);
    if (std::isfinite(division.level()))
      EXPECT_NEAR(back, division.level(), 1e-9);
    else
      EXPECT_GE(back, 1 - 1e-9);
  }
}

}  // namespace
}  // namespace vmm::policy
