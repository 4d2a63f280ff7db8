#include "layout.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "locale.h"

namespace vmmctl {
namespace {

using testing::ElementsAre;

TEST(BarTest, PartsAreDrawnToScaleAndFillTheWidth) {
  const Utf8Locale locale;
  EXPECT_EQ(bar({{5, Style::guests}, {3, Style::copies}, {2, Style::unused}}, 10, Charset::ascii).text(), "#####===..");
  EXPECT_EQ(bar({{50, Style::guests}, {50, Style::unused}}, 4, Charset::utf8).text(), "██░░");
  // What is there is seen, what is not is not.
  EXPECT_EQ(bar({{999, Style::guests}, {1, Style::overhead}, {0, Style::unused}}, 10, Charset::ascii).text(),
            "#########o");
  EXPECT_EQ(bar({{4, Style::guests}, {2, Style::unused}, {2, Style::withheld}}, 8, Charset::ascii).text(), "####..xx");
  EXPECT_EQ(bar({{1, Style::unused}, {1, Style::withheld}}, 4, Charset::utf8).text(), "░░××");
  EXPECT_EQ(bar({{0, Style::guests}}, 4, Charset::ascii).text(), "    ");
  for (std::size_t width = 0; width < 30; ++width)
    EXPECT_EQ(
        bar({{7, Style::guests}, {1, Style::copies}, {1, Style::overhead}, {3, Style::unused}}, width, Charset::utf8)
            .width(),
        width);
}

TEST(GraphTest, TheNewestValueIsAtTheRight) {
  EXPECT_THAT(graph({1, 2, 4}, 4, 5, 4, Charset::ascii), ElementsAre("    #", "    #", "   ##", "  ###"));
  // Only the last fit.
  EXPECT_THAT(graph({4, 4, 4, 0, 4}, 4, 2, 1, Charset::ascii), ElementsAre(" #"));
  EXPECT_THAT(graph({}, 0, 3, 1, Charset::ascii), ElementsAre("   "));
  EXPECT_THAT(graph({1}, 0, 2, 1, Charset::ascii), ElementsAre("  "));
}

TEST(GraphTest, BrailleHasTwoValuesAColumnAndFourStepsALine) {
  EXPECT_THAT(graph({1, 2, 3, 4}, 4, 2, 1, Charset::utf8), ElementsAre("⣠⣾"));
  EXPECT_THAT(graph({4}, 4, 1, 1, Charset::utf8), ElementsAre("⢸"));
  EXPECT_THAT(graph({8, 8}, 8, 1, 2, Charset::utf8), ElementsAre("⣿", "⣿"));
  EXPECT_THAT(graph({0.001, 8}, 8, 1, 2, Charset::utf8), ElementsAre("⢸", "⣸"));  // a little is seen
}

TEST(LineTest, ClippingKeepsStylesAndWidth) {
  const Utf8Locale locale;
  const Line line = Line("abc", Style::bold).add("日本語", Style::bad);
  EXPECT_EQ(line.width(), 9u);
  EXPECT_EQ(clipped(line, 9, Charset::utf8).text(), "abc日本語");
  EXPECT_EQ(clipped(line, 7, Charset::utf8).text(), "abc日… ");
  EXPECT_EQ(clipped(line, 7, Charset::utf8).spans.back().style, Style::bad);
  EXPECT_EQ(clipped(line, 2, Charset::utf8).text(), "a…");
  EXPECT_EQ(filled(line, 11, Style::title, Charset::utf8).text(), "abc日本語  ");
  for (std::size_t width = 0; width < 12; ++width) {
    EXPECT_EQ(filled(line, width, Style::title, Charset::utf8).width(), width);
    EXPECT_LE(clipped(line, width, Charset::utf8).width(), width);
  }
}

}  // namespace
}  // namespace vmmctl
