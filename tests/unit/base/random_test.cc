#include "base/random.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace vmm::base {
namespace {

// The first numbers of splitmix64 with seed 1234567, as its authors publish them.
TEST(Random, IsSplitmix64) {
  Random random(1234567);
  for (const std::uint64_t expected : {6457827717110365317ULL, 3203168211198807973ULL, 9817491932198370423ULL,
                                       4593380528125082431ULL, 16408922859458223821ULL})
    EXPECT_EQ(random.next(), expected);
}

TEST(Random, ASeedGivesTheSameNumbersAgain) {
  Random a(7);
  Random b(7);
  Random other(8);
  int equal = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t value = a.next();
    EXPECT_EQ(value, b.next());
    equal += value == other.next() ? 1 : 0;
  }
  EXPECT_EQ(equal, 0);
}

TEST(Random, BelowStaysBelowAndReachesBothEnds) {
  Random random(3);
  for (const std::uint64_t bound : {1ULL, 2ULL, 3ULL, 1000ULL, 1ULL << 40}) {
    for (int i = 0; i < 1000; ++i) EXPECT_LT(random.below(bound), bound);
  }
  EXPECT_LT(random.below(std::numeric_limits<std::uint64_t>::max()), std::numeric_limits<std::uint64_t>::max());
  std::array<int, 10> seen{};
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) ++seen[static_cast<std::size_t>(random.below(10))];
  // Expected 10,000 each, standard deviation 95; the seed is fixed, so this never fails by chance.
  for (const int count : seen) EXPECT_NEAR(count, kDraws / 10, 500);
}

TEST(Random, UnitIsInTheHalfOpenInterval) {
  Random random(4);
  double sum = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double value = random.unit();
    EXPECT_GE(value, 0.0);
    EXPECT_LT(value, 1.0);
    sum += value;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.01);
}

}  // namespace
}  // namespace vmm::base
