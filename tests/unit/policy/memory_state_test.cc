// Both ladders: their marks, and how the state moves between them.
#include "policy/memory_state.h"

#include <gtest/gtest.h>

#include <vector>

namespace vmm::policy {
namespace {

using enum MemoryState;

TEST(MemoryStateTest, SlidingMinFreeIsThatOfTheDocuments) {
  EXPECT_NEAR(static_cast<double>(sliding_min_free(28 * GiB)) / MiB, 901.1, 0.05);
  EXPECT_NEAR(static_cast<double>(sliding_min_free(96 * GiB)) / MiB, 1597.4, 0.05);
  EXPECT_NEAR(static_cast<double>(sliding_min_free(GiB)) / MiB, 61.44, 0.01);
}

TEST(MemoryStateTest, FaultsAskForALookAheadOfTheMarkAndAtItInAnyCase) {
  const auto marks = state_marks(MemoryLadder::classic, 100'000, 0.06);
  EXPECT_EQ(wake_mark(marks, 90'000), 7'500u);
  EXPECT_EQ(wake_mark(marks, 7'500), 7'500u);
  EXPECT_EQ(wake_mark(marks, 7'400), 7'400u - 188) << "in pieces";
  for (std::uint64_t free : {6'150u, 6'000u, 5'000u, 0u}) EXPECT_EQ(wake_mark(marks, free), 6'000u);
  EXPECT_EQ(wake_mark(state_marks(MemoryLadder::classic, 100'000, 0), 10), 0u) << "nothing is kept free";
}

TEST(MemoryStateTest, MarksOfBothLadders) {
  const auto classic = state_marks(MemoryLadder::classic, 100'000, 0.06);
  EXPECT_EQ(classic.high, 6'000u);
  EXPECT_EQ(classic.soft, 6'000u);
  EXPECT_NEAR(static_cast<double>(classic.hard), 4'000, 1);
  EXPECT_NEAR(static_cast<double>(classic.low), 1'000, 1);
  EXPECT_NEAR(static_cast<double>(classic.low_end), 2'000, 1);
  const auto sliding = state_marks(MemoryLadder::sliding, 28 * GiB / kPageSize, 0.5);
  EXPECT_EQ(sliding.high, sliding_min_free(28 * GiB) / kPageSize);
  EXPECT_NEAR(static_cast<double>(sliding.soft) / static_cast<double>(sliding.high), 0.64, 0.001);
  EXPECT_NEAR(static_cast<double>(sliding.hard) / static_cast<double>(sliding.high), 0.32, 0.001);
  EXPECT_NEAR(static_cast<double>(sliding.low) / static_cast<double>(sliding.high), 0.16, 0.001);
}

struct Step {
  std::uint64_t free;
  MemoryState then;
};

void expect_steps(const StateMarks& marks, const std::vector<Step>& steps) {
  auto state = high;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    state = next_state(state, steps[i].free, marks);
    EXPECT_EQ(to_string(state), std::string(to_string(steps[i].then))) << "step " << i << ", free " << steps[i].free;
  }
}

TEST(MemoryStateTest, ClassicLadderWithHysteresis) {
  expect_steps(state_marks(MemoryLadder::classic, 100'000, 0.06),
               {{50'000, high},
                {6'000, high},
                {5'999, soft},
                {4'000, soft},
                {6'100, soft},   // back above the mark, not by enough
                {6'439, high},
                {3'900, soft},   // one level a step
                {3'900, hard},
                {1'001, hard},   // between 1 and 2 %: low is not entered yet ...
                {1'000, low},
                {1'500, low},    // ... and not left
                {1'999, low},
                {2'000, hard},
                {4'100, hard},
                {4'400, soft},
                {50'000, high},
                {0, soft},
                {0, hard},
                {0, low},
                {50'000, hard},
                {50'000, soft},
                {50'000, high}});
}

TEST(MemoryStateTest, SlidingLadderHasClear) {
  StateMarks marks;
  marks.high = 10'000;
  marks.soft = 6'400;
  marks.hard = 3'200;
  marks.low = 1'600;
  marks.low_end = 2'400;
  expect_steps(marks, {{9'999, clear},
                       {6'400, clear},
                       {10'100, clear},
                       {10'689, high},
                       {1'000, clear},
                       {1'000, soft},
                       {1'000, hard},
                       {1'000, low},
                       {2'399, low},
                       {2'400, hard},
                       {3'464, soft},
                       {6'864, clear},
                       {10'689, high}});
}

TEST(MemoryStateTest, WithNothingKeptFreeOnlyAnEmptyHostIsShort) {
  const auto marks = state_marks(MemoryLadder::classic, 100'000, 0);
  expect_steps(marks, {{1, high}, {0, high}});
}

// Whatever memory does, the state changes by one level at a time, and free memory that stays leads to one state.
TEST(MemoryStateTest, Settles) {
  for (const auto ladder : {MemoryLadder::classic, MemoryLadder::sliding}) {
    const auto marks = state_marks(ladder, 4 * GiB / kPageSize, 0.06);
    for (std::uint64_t free = 0; free < 2 * marks.high; free += 97) {
      for (const auto from : {high, soft, hard, low}) {
        auto state = from;
        for (int i = 0; i < 4; ++i) state = next_state(state, free, marks);
        EXPECT_EQ(next_state(state, free, marks), state) << free;
      }
      if (free >= return_mark(marks.high)) {
        auto state = low;
        for (int i = 0; i < 4; ++i) state = next_state(state, free, marks);
        EXPECT_EQ(state, high);
      }
    }
  }
}

}  // namespace
}  // namespace vmm::policy
