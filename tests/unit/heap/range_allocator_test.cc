#include "heap/range_allocator.h"

#include <algorithm>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "support/seed.h"

namespace vmm::heap {
namespace {

std::uint64_t count_of(const std::vector<PageSpan>& spans) {
  std::uint64_t count = 0;
  for (const auto& span : spans) count += span.count;
  return count;
}

PageSpan take(RangeAllocator& ranges, std::uint64_t count, std::uint64_t alignment = 1) {
  const auto allocation = ranges.allocate(count, alignment);
  EXPECT_TRUE(allocation);
  return allocation ? allocation->span : PageSpan{};
}

TEST(RangeAllocatorTest, FreedPagesAreTakenBeforeNewOnes) {
  RangeAllocator ranges(0, 100);
  const auto a = take(ranges, 10);
  const auto b = take(ranges, 10);
  EXPECT_EQ(a, (PageSpan{0, 10}));
  EXPECT_EQ(b, (PageSpan{10, 10}));
  ASSERT_TRUE(ranges.release(a));
  EXPECT_EQ(take(ranges, 4), (PageSpan{0, 4}));
  EXPECT_EQ(take(ranges, 7), (PageSpan{20, 7})) << "six are left of the hole";
  EXPECT_EQ(ranges.usable(), 100u - 10 - 4 - 7);
}

TEST(RangeAllocatorTest, NoneWhereNoneIsLargeEnough) {
  RangeAllocator ranges(0, 16);
  EXPECT_FALSE(ranges.allocate(17, 1));
  EXPECT_FALSE(ranges.allocate(~0ULL, 1));
  const auto all = take(ranges, 16);
  EXPECT_FALSE(ranges.allocate(1, 1));
  ASSERT_TRUE(ranges.release({all.first, 4}));
  ASSERT_TRUE(ranges.release({8, 4}));
  EXPECT_FALSE(ranges.allocate(5, 1));
  EXPECT_EQ(take(ranges, 4), (PageSpan{0, 4}));
}

TEST(RangeAllocatorTest, OnlyWhatWasNeverUsedIsKnownToBeZero) {
  RangeAllocator ranges(0, 32);
  EXPECT_TRUE(ranges.allocate(8, 1)->zero);
  ASSERT_TRUE(ranges.release({0, 8}));
  EXPECT_FALSE(ranges.allocate(4, 1)->zero);
  EXPECT_TRUE(ranges.allocate_at({8, 4})->zero);
  ASSERT_TRUE(ranges.release({0, 4}));
  EXPECT_FALSE(ranges.allocate_at({4, 4})->zero);
}

TEST(RangeAllocatorTest, TakesWhatIsNamedOnlyIfAllOfItIsFree) {
  RangeAllocator ranges(0, 32);
  EXPECT_TRUE(ranges.allocate_at({10, 4}));
  EXPECT_FALSE(ranges.allocate_at({8, 3}));
  EXPECT_FALSE(ranges.allocate_at({12, 8}));
  EXPECT_FALSE(ranges.allocate_at({30, 3}));
  EXPECT_FALSE(ranges.allocate_at({1ULL << 60, 1}));
  EXPECT_TRUE(ranges.allocate_at({8, 2}));
  EXPECT_TRUE(ranges.allocate_at({14, 18}));
  EXPECT_EQ(ranges.usable(), 8u);
}

TEST(RangeAllocatorTest, GivesOnlyWhatWasUsed) {
  RangeAllocator ranges(0, 100);
  std::vector<PageSpan> given;
  EXPECT_EQ(ranges.give(50, given), 0u) << "nothing was used: it would free nothing";
  take(ranges, 20);
  ASSERT_TRUE(ranges.release({4, 10}));
  EXPECT_EQ(ranges.give(50, given), 10u);
  EXPECT_EQ(given, (std::vector<PageSpan>{{4, 10}}));
  EXPECT_EQ(ranges.given(), 10u);
  given.clear();
  EXPECT_EQ(ranges.give(50, given), 0u) << "given already";
}

TEST(RangeAllocatorTest, GivesNoMoreThanIsAskedForFromTheLargestSpans) {
  RangeAllocator ranges(0, 100);
  take(ranges, 100);
  ASSERT_TRUE(ranges.release({10, 2}));
  ASSERT_TRUE(ranges.release({20, 30}));
  std::vector<PageSpan> given;
  EXPECT_EQ(ranges.give(25, given), 25u);
  EXPECT_EQ(given, (std::vector<PageSpan>{{20, 25}}));
  EXPECT_EQ(ranges.give(25, given), 7u);
  EXPECT_EQ(count_of(given), 32u);
}

TEST(RangeAllocatorTest, WhatIsHandedOverIsNotUsedBeforeTheHostHasDealtWithIt) {
  RangeAllocator ranges(0, 20);
  take(ranges, 20);
  ASSERT_TRUE(ranges.release({0, 10}));
  std::vector<PageSpan> given;
  ASSERT_EQ(ranges.give(10, given), 10u);
  EXPECT_FALSE(ranges.allocate(1, 1));
  EXPECT_FALSE(ranges.allocate_at({3, 1}));
  ranges.settle();
  EXPECT_EQ(ranges.given(), 10u);
  EXPECT_EQ(take(ranges, 3).count, 3u);
  EXPECT_EQ(ranges.given(), 7u);
}

TEST(RangeAllocatorTest, PrefersWhatIsNotGiven) {
  RangeAllocator ranges(0, 20);
  take(ranges, 20);
  ASSERT_TRUE(ranges.release({0, 4}));
  std::vector<PageSpan> given;
  ASSERT_EQ(ranges.give(4, given), 4u);
  ranges.settle();
  ASSERT_TRUE(ranges.release({10, 8}));
  EXPECT_EQ(take(ranges, 4), (PageSpan{10, 4})) << "the given span would fit better";
  EXPECT_EQ(take(ranges, 4), (PageSpan{14, 4}));
  EXPECT_EQ(take(ranges, 4), (PageSpan{0, 4}));
}

TEST(RangeAllocatorTest, GivenAndUsablePagesTogetherMakeARange) {
  RangeAllocator ranges(0, 32);
  take(ranges, 32);
  ASSERT_TRUE(ranges.release({4, 4}));
  std::vector<PageSpan> given;
  ASSERT_EQ(ranges.give(4, given), 4u);
  ranges.settle();
  ASSERT_TRUE(ranges.release({1, 3}));
  ASSERT_TRUE(ranges.release({8, 4}));
  EXPECT_EQ(take(ranges, 8, 4), (PageSpan{4, 8}));
  EXPECT_EQ(ranges.given(), 0u);
  EXPECT_EQ(ranges.usable(), 3u);
}

TEST(RangeAllocatorTest, WhatTheHostHandsBackIsUsableButNotWhatWasUsedAgain) {
  RangeAllocator ranges(0, 20);
  take(ranges, 20);
  ASSERT_TRUE(ranges.release({0, 10}));
  std::vector<PageSpan> given;
  ASSERT_EQ(ranges.give(10, given), 10u);
  ranges.settle();
  ASSERT_TRUE(ranges.allocate_at({2, 3}));
  ranges.take_back({0, 8});
  EXPECT_EQ(ranges.usable(), 5u);
  EXPECT_EQ(ranges.given(), 2u);
  EXPECT_FALSE(ranges.allocate_at({0, 2})->zero) << "the host may have refused it";
  given.clear();
  EXPECT_EQ(ranges.give(10, given), 0u) << "it is not in memory";
}

TEST(RangeAllocatorTest, TakesOverWhatWasHandedOver) {
  RangeAllocator ranges(0, 20);
  take(ranges, 20);
  ASSERT_TRUE(ranges.release({0, 4}));
  ASSERT_TRUE(ranges.release({10, 6}));
  std::vector<PageSpan> given;
  ASSERT_EQ(ranges.give(10, given), 10u);
  const auto fits = ranges.take_over(3);
  ASSERT_TRUE(fits);
  EXPECT_EQ(*fits, (PageSpan{0, 3}));
  EXPECT_EQ(ranges.take_over(9), (PageSpan{10, 6})) << "the largest, where none is large enough";
  EXPECT_TRUE(ranges.hand_over({10, 6}));
  EXPECT_TRUE(ranges.release(*fits));
  EXPECT_EQ(take(ranges, 3), *fits);
  EXPECT_EQ(ranges.given(), 7u);
}

// Against one character a page: '#' in use, '.' usable, 'h' handed over, 'g' given.
TEST(RangeAllocatorTest, RandomOperationsAgreeWithAPlainTable) {
  constexpr std::uint64_t kPages = 512;
  const std::uint64_t seed = test::seed();
  SCOPED_TRACE(test::seed_note(seed));
  std::mt19937_64 random(seed);
  RangeAllocator ranges(7, kPages);
  std::string shadow(kPages, '.');
  std::vector<PageSpan> live;
  const auto paint = [&](PageSpan span, char c) {
    std::fill_n(shadow.begin() + static_cast<std::ptrdiff_t>(span.first), span.count, c);
  };
  const auto all_of = [&](PageSpan span, const char* chars) {
    return shadow.substr(span.first, span.count).find_first_not_of(chars) == std::string::npos;
  };
  for (int step = 0; step < 50000; ++step) {
    switch (random() % 8) {
      case 0: case 1: case 2: {
        const std::uint64_t count = 1 + random() % 24, alignment = 1ULL << random() % 4;
        const auto a = ranges.allocate(count, alignment);
        if (a) {
          ASSERT_TRUE(all_of(a->span, ".g"));
          ASSERT_EQ((a->span.first + 7) % alignment, 0u);
          paint(a->span, '#');
          live.push_back(a->span);
        } else {
          for (std::uint64_t first = 0; first + count <= kPages; ++first)
            ASSERT_FALSE((first + 7) % alignment == 0 && all_of({first, count}, ".g")) << "step " << step;
        }
        break;
      }
      case 3: case 4: case 5:
        if (!live.empty()) {
          std::swap(live[random() % live.size()], live.back());
          ASSERT_TRUE(ranges.release(live.back()));
          paint(live.back(), '.');
          live.pop_back();
        }
        break;
      case 6: {
        std::vector<PageSpan> given;
        const std::uint64_t most = random() % 64;
        const std::uint64_t count = ranges.give(most, given);
        ASSERT_EQ(count, count_of(given));
        ASSERT_LE(count_of(given), most);
        for (const auto& span : given) {
          ASSERT_TRUE(all_of(span, "."));
          paint(span, 'h');
        }
        break;
      }
      default:
        if (random() % 2 == 0) {
          ranges.settle();
          std::replace(shadow.begin(), shadow.end(), 'h', 'g');
        } else if (const auto span = ranges.take_over(1 + random() % 8)) {
          ASSERT_TRUE(all_of(*span, "h"));
          ASSERT_TRUE(ranges.release(*span));
          paint(*span, '.');
        } else {
          const PageSpan back{random() % kPages, 16};
          ranges.take_back(back);
          for (auto page = back.first; page < std::min(back.end(), kPages); ++page)
            if (shadow[page] == 'g') shadow[page] = '.';
        }
    }
    ASSERT_EQ(ranges.usable(), static_cast<std::uint64_t>(std::count(shadow.begin(), shadow.end(), '.')));
    ASSERT_EQ(ranges.given(), static_cast<std::uint64_t>(std::count_if(shadow.begin(), shadow.end(), [](char c) {
                return c == 'h' || c == 'g';
              })));
  }
}

}  // namespace
}  // namespace vmm::heap
