#include "heap/free_spans.h"

#include <algorithm>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "heap/page_bitmap.h"
#include "support/seed.h"

namespace vmm::heap {
namespace {

class FreeSpansTest : public testing::Test {
 protected:
  void add(PageSpan span) {
    ASSERT_TRUE(nodes_.reserve(1));
    free_.add(span);
  }
  void remove(PageSpan span) {
    ASSERT_TRUE(nodes_.reserve(1));
    free_.remove(span);
  }
  // "x" is free: the first `pages` pages.
  std::string drawing(std::uint64_t pages) const {
    std::string text(pages, '.');
    for (auto span = free_.at_or_after(0); span; span = free_.at_or_after(span->end()))
      for (auto page = span->first; page < span->end(); ++page) text[page] = 'x';
    return text;
  }

  SpanNodes nodes_;
  FreeSpans free_{nodes_};
};

TEST_F(FreeSpansTest, NeighboursBecomeOneSpan) {
  add({2, 2});
  add({8, 2});
  EXPECT_EQ(free_.spans(), 2u);
  add({4, 1});
  EXPECT_EQ(drawing(12), "..xxx...xx..");
  add({7, 1});
  EXPECT_EQ(free_.spans(), 2u);
  add({5, 2});
  EXPECT_EQ(free_.spans(), 1u);
  EXPECT_EQ(free_.largest(), (PageSpan{2, 8}));
  EXPECT_EQ(free_.pages(), 8u);
}

TEST_F(FreeSpansTest, SpansAreCutAtEachEndAndInTheMiddle) {
  add({0, 10});
  remove({0, 2});
  EXPECT_EQ(drawing(10), "..xxxxxxxx");
  remove({9, 1});
  EXPECT_EQ(drawing(10), "..xxxxxxx.");
  remove({4, 2});
  EXPECT_EQ(drawing(10), "..xx..xxx.");
  remove({2, 2});
  EXPECT_EQ(drawing(10), "......xxx.");
  EXPECT_EQ(free_.pages(), 3u);
}

TEST_F(FreeSpansTest, TheSmallestSpanThatFitsAndTheLowestOfEquals) {
  add({0, 8});
  add({10, 3});
  add({20, 3});
  add({30, 5});
  EXPECT_EQ(free_.best_fit(3, 1, 0), (PageSpan{10, 3}));
  EXPECT_EQ(free_.best_fit(4, 1, 0), (PageSpan{30, 4}));
  EXPECT_EQ(free_.best_fit(6, 1, 0), (PageSpan{0, 6}));
  EXPECT_EQ(free_.best_fit(9, 1, 0), std::nullopt);
}

TEST_F(FreeSpansTest, AlignmentIsOfTheAddressNotOfThePageNumber) {
  add({1, 5});
  add({9, 30});
  EXPECT_EQ(free_.best_fit(4, 4, 0), (PageSpan{12, 4}));
  EXPECT_EQ(free_.best_fit(4, 4, 3), (PageSpan{1, 4}));
  EXPECT_EQ(free_.best_fit(2, 2, 0), (PageSpan{2, 2}));
  EXPECT_EQ(free_.best_fit(16, 16, 0), (PageSpan{16, 16}));
  EXPECT_EQ(free_.best_fit(16, 32, 0), std::nullopt);
}

TEST_F(FreeSpansTest, FindsTheSpanThatHasAPageElseTheNext) {
  add({5, 3});
  add({20, 1});
  EXPECT_EQ(free_.at_or_after(0), (PageSpan{5, 3}));
  EXPECT_EQ(free_.at_or_after(7), (PageSpan{5, 3}));
  EXPECT_EQ(free_.at_or_after(8), (PageSpan{20, 1}));
  EXPECT_EQ(free_.at_or_after(21), std::nullopt);
}

// Against one character a page.
TEST_F(FreeSpansTest, RandomChangesAgreeWithAPlainTable) {
  constexpr std::uint64_t kPages = 256;
  const std::uint64_t seed = test::seed();
  SCOPED_TRACE(test::seed_note(seed));
  std::mt19937_64 random(seed);
  std::string shadow(kPages, '.');
  for (int step = 0; step < 20000; ++step) {
    const PageSpan span{random() % kPages, 1 + random() % 12};
    if (span.end() > kPages) continue;
    const auto part = shadow.substr(span.first, span.count);
    if (part.find('x') == std::string::npos) {
      add(span);
      std::fill_n(shadow.begin() + static_cast<std::ptrdiff_t>(span.first), span.count, 'x');
    } else if (part.find('.') == std::string::npos) {
      remove(span);
      std::fill_n(shadow.begin() + static_cast<std::ptrdiff_t>(span.first), span.count, '.');
    }
    if (step % 50 != 0) continue;
    ASSERT_EQ(drawing(kPages), shadow) << "step " << step;
    ASSERT_EQ(free_.pages(), static_cast<std::uint64_t>(std::count(shadow.begin(), shadow.end(), 'x')));
    // The best fit is the shortest stretch of the table that does.
    const std::uint64_t count = 1 + random() % 8;
    std::uint64_t shortest = kPages + 1;
    for (std::uint64_t at = 0; at < kPages;) {
      const auto from = shadow.find('x', at);
      if (from == std::string::npos) break;
      const auto to = std::min<std::uint64_t>(shadow.find('.', from), kPages);
      if (to - from >= count) shortest = std::min<std::uint64_t>(shortest, to - from);
      at = to;
    }
    const auto fit = free_.best_fit(count, 1, 0);
    ASSERT_EQ(fit.has_value(), shortest <= kPages);
    if (fit) {
      ASSERT_EQ(free_.at_or_after(fit->first)->count, shortest);
    }
  }
}

TEST(PageBitmapTest, SearchesCrossWordsAndStopAtTheEnd) {
  PageBitmap bits(200);
  EXPECT_EQ(bits.next_set(0, 200), 200u);
  EXPECT_EQ(bits.next_clear(0, 200), 0u);
  bits.set({60, 70});
  EXPECT_EQ(bits.next_set(0, 200), 60u);
  EXPECT_EQ(bits.next_clear(60, 200), 130u);
  EXPECT_EQ(bits.next_clear(60, 100), 100u);
  EXPECT_EQ(bits.next_set(130, 200), 200u);
  EXPECT_TRUE(bits.any({129, 5}));
  EXPECT_FALSE(bits.any({130, 70}));
  bits.clear({64, 64});
  EXPECT_EQ(bits.next_clear(60, 200), 64u);
  EXPECT_EQ(bits.next_set(64, 200), 128u);
}

}  // namespace
}  // namespace vmm::heap
