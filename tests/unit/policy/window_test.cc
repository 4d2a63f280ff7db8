#include "policy/window.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace vmm::policy {
namespace {

TEST(FillWindow, GrowsFourfoldOnNeighboursUpToItsMost) {
  for (const bool roomy : {false, true}) {
    FillWindow window;
    std::uint64_t page = 4096, count = 0;
    for (int i = 0; i < 8; ++i) {
      const auto range = window.next(page, roomy);
      EXPECT_EQ(range.first, page);
      EXPECT_GE(range.count, count) << "fault " << i;
      count = range.count;
      page = range.first + range.count;
    }
    EXPECT_EQ(count, roomy ? FillWindow::kMost : FillWindow::kMostScarce);
  }
}

TEST(FillWindow, CollapsesOnScatteredFaults) {
  FillWindow window;
  std::uint64_t page = 0;
  for (int i = 0; i < 6; ++i) page += window.next(page, false).count;
  const auto far = window.next(1 << 20, false);
  EXPECT_EQ(far.first, 1u << 20);
  EXPECT_EQ(far.count, 1u);
  const auto back = window.next(3, false);
  EXPECT_EQ(back.count, 1u);
}

TEST(FillWindow, AlwaysHoldsThePage) {
  FillWindow window;
  std::uint64_t x = 1;
  for (int i = 0; i < 10000; ++i) {
    x = x * 6364136223846793005ULL + 1442695040888963407ULL;
    const auto page = (x >> 33) % 5000;
    const auto range = window.next(page, i % 3 == 0);
    ASSERT_LE(range.first, page);
    ASSERT_LT(page, range.first + range.count);
    ASSERT_LE(range.count, FillWindow::kMost);
  }
}

TEST(FillWindow, ScatteredFaultsFillABlockWhileThereIsRoom) {
  FillWindow window;
  const auto range = window.next(1000, true);
  EXPECT_EQ(range.count, FillWindow::kScattered);
  EXPECT_EQ(range.first % FillWindow::kScattered, 0u);
}

TEST(ReadWindow, FirstTouchReadsOnePage) {
  ReadWindow window(64);
  const auto plan = window.next(100);
  EXPECT_EQ(plan.pages, 1u);
  EXPECT_LE(plan.ahead_to, 101u);
}

TEST(ReadWindow, DoublesOnAStreamUpToItsMostAndThenKeepsItsDepthInFlight) {
  ReadWindow window(64);
  std::uint32_t expected = 1;
  std::uint64_t ahead = 0;
  for (std::uint64_t page = 1000; page < 1012; ++page) {
    const auto plan = window.next(page);
    EXPECT_EQ(plan.pages, expected);
    EXPECT_GE(plan.ahead_to, ahead) << "never takes back";
    ahead = plan.ahead_to;
    expected = std::min(expected * 2, 64u);
  }
  EXPECT_EQ(ahead, 1011 + ReadWindow::kDepth * 64);
}

TEST(ReadWindow, GoesOnByItselfButNotFarPastTheLastTouch) {
  ReadWindow window(64);
  std::uint64_t ahead = 0;
  for (std::uint64_t page = 0; page < 8; ++page) ahead = window.next(page).ahead_to;
  for (std::uint64_t come = 64; come < 64 + 8 * 64; come += 64) {
    const auto next = window.came(come, 64);
    EXPECT_EQ(next.first, ahead);
    EXPECT_EQ(next.count, 64u);
    ahead += next.count;
  }
  EXPECT_EQ(ahead, 7 + 2 * ReadWindow::kDepth * 64);
  EXPECT_EQ(window.came(ahead - 64, 64).count, 0u) << "nobody has touched anything since";
  EXPECT_EQ(window.next(600).pages, 64u);
  EXPECT_EQ(window.came(1024, 64).count, 64u);
}

TEST(ReadWindow, GoesOnOnlyWithStreamsAtFullWindow) {
  ReadWindow window(64);
  window.next(0);
  window.next(1);
  window.next(2);
  EXPECT_EQ(window.came(3, 2).count, 0u) << "not at full window yet";
  EXPECT_EQ(window.came(100'000, 64).count, 0u) << "nobody's";
}

TEST(ReadWindow, APageAskedForAgainReadsAsItsStreamDoes) {
  ReadWindow window(64);
  auto plan = window.next(0);
  EXPECT_EQ(window.next(0).pages, 1u) << "no stream yet";
  for (std::uint64_t page = 1; page < 8; ++page) plan = window.next(page);
  const auto again = window.next(7);
  EXPECT_EQ(again.pages, 64u);
  EXPECT_EQ(again.ahead_to, plan.ahead_to) << "the stream has not gone on";
}

TEST(ReadWindow, RandomTouchesReadOnePageEach) {
  ReadWindow window(64);
  std::uint64_t x = 7;
  std::uint64_t pages = 0;
  for (int i = 0; i < 1000; ++i) {
    x = x * 6364136223846793005ULL + 1442695040888963407ULL;
    pages += window.next(x >> 24).pages;
  }
  EXPECT_EQ(pages, 1000u);
}

TEST(ReadWindow, TellsSeveralStreamsApart) {
  ReadWindow window(64);
  std::uint32_t last = 0;
  for (std::uint64_t i = 0; i < 10; ++i)
    for (std::uint64_t stream = 0; stream < 8; ++stream) last = window.next(stream * 1'000'000 + i).pages;
  EXPECT_EQ(last, 64u);
}

TEST(ReadWindow, NeverReadsMoreThanItsMost) {
  for (const std::uint32_t most : {1u, 2u, 7u, 64u}) {
    ReadWindow window(most);
    for (std::uint64_t page = 0; page < 200; ++page) EXPECT_LE(window.next(page).pages, most);
  }
}

}  // namespace
}  // namespace vmm::policy
