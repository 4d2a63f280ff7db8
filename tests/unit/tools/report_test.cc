#include "report.h"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tools/scenario.h"

namespace vmmctl {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

RecordData read(const std::string& text, std::vector<std::string>* warnings = nullptr) {
  std::istringstream stream(text);
  std::vector<std::string> said;
  auto data = read_record(stream, said);
  EXPECT_TRUE(data);
  if (warnings != nullptr) *warnings = said;
  return data ? std::move(*data) : RecordData();
}

TEST(ReportTest, SummariesAreExact) {
  fake::Scenario scenario({.guests = 3});
  std::string text;
  std::uint64_t most = 0, free = ~std::uint64_t{0}, first_faults = 0, last_faults = 0;
  for (int i = 0; i < 100; ++i) {
    scenario.step();
    const json line = scenario.record_line();
    const json& stats = line["stats"];
    most = std::max(most, stats["guests"][1]["resident"].get<std::uint64_t>());
    free = std::min(free, stats["free"].get<std::uint64_t>());
    last_faults = stats["guests"][1]["faults"];
    if (i == 0) first_faults = last_faults;
    text += line.dump() + "\n";
  }
  const RecordData data = read(text + "{\"end\":\"interrupted\"}\n");
  EXPECT_EQ(data.host().samples, 100u);
  EXPECT_EQ(data.host().free_min, free);
  EXPECT_EQ(data.points().size(), 100u);
  EXPECT_EQ(data.samples_per_point(), 1u);
  EXPECT_EQ(data.end(), "interrupted");
  ASSERT_EQ(data.guests().size(), 3u);
  EXPECT_EQ(data.guests()[1].resident_max, most);
  EXPECT_EQ(data.guests()[1].faults, last_faults - first_faults);
  EXPECT_TRUE(data.notes().empty());
}

TEST(ReportTest, ALongRecordKeepsItsMeansAndItsWorstStates) {
  json line = fake::Scenario({.guests = 1}).record_line();
  std::string text;
  double sum = 0;
  constexpr int kSamples = 10'000;
  for (int i = 0; i < kSamples; ++i) {
    json& stats = line["stats"];
    stats["time_ns"] = 1'000'000'000ULL * static_cast<std::uint64_t>(i + 1);
    stats["wall_time_ms"] = 1000 * (i + 1);
    stats["guests"][0]["resident"] = 4096 * (i % 777);
    stats["guests"][0]["fills"] = 3 * i;
    stats["state"] = i == 5000 ? "low" : "high";
    sum += 4096 * (i % 777);
    text += line.dump() + "\n";
  }
  const RecordData data = read(text);
  EXPECT_EQ(data.host().samples, 10'000u);
  EXPECT_LE(data.points().size(), kMostPoints);
  EXPECT_GE(data.points().size(), kMostPoints / 2);
  double points_sum = 0;
  std::uint64_t samples = 0, low = 0;
  for (const Point& point : data.points()) {
    points_sum += point.gauges[Gauge::resident];
    samples += point.samples;
    low += point.state == 4 ? 1 : 0;
    EXPECT_LE(point.samples, data.samples_per_point());
  }
  EXPECT_EQ(samples, 10'000u);
  EXPECT_DOUBLE_EQ(points_sum, sum);
  EXPECT_EQ(low, 1u);  // one moment of it is not lost among the others
  const json series = report_json(data)["series"];
  EXPECT_THAT(series["fills"], Each(3.0));  // a second
}

TEST(ReportTest, BrokenLinesAreNamedAndTheRestIsUsed) {
  fake::Scenario scenario({.guests = 1});
  const std::string good = scenario.record_line().dump() + "\n";
  std::vector<std::string> warnings;
  const RecordData data = read(good + "garbage\n" + "{\"stats\":{}}\n" + "\n" + good.substr(0, good.size() / 2) +
                                   "\n[]\n" + good + good.substr(0, 100),
                               &warnings);
  EXPECT_EQ(data.host().samples, 2u);
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("line 2 is skipped: not JSON: 'garbage'"), HasSubstr("line 3 is skipped"),
                                    HasSubstr("line 5 is skipped"), HasSubstr("line 6 is skipped"),
                                    HasSubstr("line 8 is skipped")));
  EXPECT_EQ(data.notes().size(), warnings.size() + 1);  // and that it was cut off
}

TEST(ReportTest, AFileWithoutASampleIsRefused) {
  for (const char* text : {"", "\n\n", "hello\n", "{\"end\":\"x\"}\n"}) {
    std::istringstream stream(text);
    std::vector<std::string> warnings;
    const auto data = read_record(stream, warnings);
    ASSERT_FALSE(data) << text;
    EXPECT_THAT(data.error().message(), HasSubstr("no line of it is a sample"));
  }
  // A thousand warnings are not all told.
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "x\n";
  std::istringstream stream(text);
  std::vector<std::string> warnings;
  EXPECT_FALSE(read_record(stream, warnings));
  EXPECT_EQ(warnings.size(), 21u);
  EXPECT_THAT(warnings.back(), HasSubstr("980 lines more"));
}

TEST(ReportTest, GuestsComeAndGoAndBeginAnew) {
  fake::Scenario scenario({.guests = 2});
  json first = scenario.record_line();
  first["stats"]["time_ns"] = 1'000'000'000;
  first["stats"]["guests"][0]["fills"] = 500;
  json second = first;
  second["stats"]["time_ns"] = 2'000'000'000;
  second["stats"]["guests"][0]["fills"] = 20;  // created anew under its name
  second["stats"]["guests"].erase(1);
  const RecordData data = read(first.dump() + "\n" + second.dump() + "\n");
  const json report = report_json(data);
  EXPECT_EQ(report["series"]["fills"], json::array({nullptr, 0.0}));
  EXPECT_EQ(report["guests"].size(), 2u);
  EXPECT_TRUE(report["guests"][1]["series"]["resident"][1].is_null());
  EXPECT_FALSE(report["guests"][1]["series"]["resident"][0].is_null());
}

TEST(ReportTest, TheKindsOfMemoryAddUp) {
  fake::Scenario scenario;
  std::string text;
  for (int i = 0; i < 150; ++i) {
    scenario.step();
    text += scenario.record_line().dump() + "\n";
  }
  const RecordData data = read(text);
  for (const Point& point : data.points()) {
    const auto& of = point.gauges;
    EXPECT_DOUBLE_EQ(of[Gauge::resident] + of[Gauge::copies] + of[Gauge::other] + of[Gauge::free], of[Gauge::budget]);
    double size = 0;
    for (const GuestSummary& guest : data.guests()) size += static_cast<double>(guest.last.memory);
    EXPECT_DOUBLE_EQ(
        of[Gauge::resident] + of[Gauge::shared] + of[Gauge::swapped] + of[Gauge::ballooned] + of[Gauge::untouched],
        size);
  }
}

TEST(ReportTest, NothingFromTheRecordCanEndTheElementItStandsIn) {
  fake::Scenario scenario({.guests = 1});
  const std::string evil = "</script><script>document.title='x'</script><!-- /*PAGE*/ &lt;";
  scenario.rename(0, evil);
  json line = scenario.record_line();
  line["events"] = json::array({{{"kind", evil}, {"reason", evil}}});
  const std::string page = report_page(read(line.dump() + "\n{\"end\":\"</script>\"}\n"));
  EXPECT_THAT(page, Not(HasSubstr("<script>document")));
  std::size_t ends = 0;
  for (std::size_t at = page.find("</script>"); at != std::string::npos; at = page.find("</script>", at + 1)) ++ends;
  EXPECT_EQ(ends, 2u);  // of the data and of the program
  const auto begin = page.find("id=\"data\">") + 10;
  const json embedded = json::parse(page.substr(begin, page.find("</script>", begin) - begin));
  EXPECT_EQ(embedded["guests"][0]["name"], evil);
}

TEST(ReportTest, ThePageLoadsNothing) {
  fake::Scenario scenario({.guests = 1});
  const std::string page = report_page(read(scenario.record_line().dump() + "\n"));
  EXPECT_THAT(page, AllOf(HasSubstr("default-src 'none'"), Not(HasSubstr("src=")), Not(HasSubstr("href=")),
                          Not(HasSubstr("@import")), Not(HasSubstr("url("))));
}

}  // namespace
}  // namespace vmmctl
