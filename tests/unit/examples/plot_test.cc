#include "plot/plot.h"

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plot {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

Chart rising() { return {"Speed", "s", "ops/s", {{"busy", {{0, 0}, {10, 10}}}}, {}}; }

TEST(PlotTest, TheAxisEndsAtARoundNumberThatHoldsTheHighestPoint) {
  struct Case {
    double highest, end;
  };
  for (const Case& c : {Case{0, 1}, Case{-3, 1}, Case{0.07, 0.08}, Case{1, 1}, Case{1.02, 1.5}, Case{256, 300},
                        Case{850, 1000}, Case{1000, 1000}, Case{741003, 800000}})
    EXPECT_DOUBLE_EQ(axis_end(c.highest), c.end) << c.highest;
}

TEST(PlotTest, ACurveGoesFromItsFirstPointToItsLast) {
  const auto lines = lines_of(text(rising(), 11, 11));
  ASSERT_EQ(lines.size(), 15u);  // title, 11 rows, axis, its numbers, names
  EXPECT_EQ(lines[0], "Speed (ops/s)");
  for (std::size_t i = 0; i < 11; ++i) {
    const auto area = lines[1 + i].substr(lines[1 + i].find('|') + 1);
    EXPECT_EQ(area, std::string(10 - i, ' ') + "*" + std::string(i, ' ')) << "row " << i;
  }
  EXPECT_THAT(lines[1], HasSubstr("10 |"));
  EXPECT_THAT(lines[6], HasSubstr("5 |"));
  EXPECT_THAT(lines[11], HasSubstr("0 |"));
  EXPECT_THAT(lines[14], HasSubstr("* busy"));
}

TEST(PlotTest, EachCurveHasItsLetterAndALaterOneCoversAnEarlier) {
  auto chart = rising();
  chart.curves.push_back({"idle", {{0, 10}, {10, 10}}});
  const auto lines = lines_of(text(chart, 11, 11));
  EXPECT_THAT(lines[1], HasSubstr("|ooooooooooo"));
  EXPECT_THAT(lines[14], HasSubstr("* busy   o idle"));
}

TEST(PlotTest, AMarkCrossesAllRowsBehindTheCurves) {
  auto chart = rising();
  chart.marks = {{5, "tax 75 %"}};
  const auto lines = lines_of(text(chart, 11, 11));
  for (std::size_t i = 0; i < 11; ++i) {
    const auto area = lines[1 + i].substr(lines[1 + i].find('|') + 1);
    EXPECT_EQ(area[5], i == 5 ? '*' : '|') << "row " << i;
  }
  EXPECT_THAT(lines[14], HasSubstr("| tax 75 %"));
}

TEST(PlotTest, NothingAndASinglePointCanBeDrawn) {
  EXPECT_THAT(text(Chart{"None", "s", "MiB", {}, {}}), HasSubstr("None (MiB)"));
  Chart one{"One", "s", "MiB", {{"a", {{3, 2}}}}, {}};
  EXPECT_THAT(text(one), HasSubstr("*"));
  EXPECT_THAT(text(one, 0, 0), HasSubstr("*"));
  EXPECT_THAT(svg({&one, 1}), HasSubstr("polyline"));
}

TEST(PlotTest, SvgHasAPolylineForEachCurveOfEachChartAndNamesThem) {
  auto two = rising();
  two.curves.push_back({"a < b & c", {{0, 1}}});
  const Chart charts[] = {rising(), two};
  const auto document = svg(charts);
  EXPECT_THAT(document, testing::StartsWith("<svg "));
  EXPECT_THAT(document, testing::EndsWith("</svg>\n"));
  std::size_t count = 0;
  for (auto at = document.find("<polyline"); at != std::string::npos; at = document.find("<polyline", at + 1)) ++count;
  EXPECT_EQ(count, 3u);
  EXPECT_THAT(document, HasSubstr("a &lt; b &amp; c"));
  EXPECT_THAT(document, Not(HasSubstr("a < b")));
  // From the lower left corner of the first chart to its upper right one.
  EXPECT_THAT(document, HasSubstr("points=\"70.0,255.0 740.0,40.0 \""));
}

TEST(PlotTest, WriteSvgWritesTheDocumentAndTellsWhereItCannot) {
  const auto chart = rising();
  const auto path = testing::TempDir() + "plot_test.svg";
  ASSERT_TRUE(write_svg(path, {&chart, 1}));
  std::ostringstream written;
  written << std::ifstream(path).rdbuf();
  EXPECT_EQ(written.str(), svg({&chart, 1}));
  std::remove(path.c_str());
  errno = 0;
  EXPECT_FALSE(write_svg(testing::TempDir() + "no/such/folder.svg", {&chart, 1}));
  EXPECT_EQ(errno, ENOENT);
}

}  // namespace
}  // namespace plot
