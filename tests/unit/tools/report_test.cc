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
  ASSERT_EQ(data.guests().held().size(), 3u);
  EXPECT_EQ(data.guests().held()[1].resident_max, most);
  EXPECT_EQ(data.guests().held()[1].growth.faults, last_faults - first_faults);
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

constexpr std::int64_t kWall = 1'000'000'000;

// A line of a record: one host at a second of its own time, with guests of these names, ids and counts of fills.
struct Filled {
  const char* name;
  std::uint64_t id, fills;
};
json filled_line(std::uint64_t second, const std::vector<Filled>& guests) {
  json line = {{"stats",
                {{"time_ns", second * 1'000'000'000},
                 {"wall_time_ms", kWall + 1000 * static_cast<std::int64_t>(second)},
                 {"pid", 7},
                 {"memory", 1 << 20},
                 {"guests", json::array()}}}};
  for (const Filled& guest : guests)
    line["stats"]["guests"].push_back({{"name", guest.name},
                                       {"id", guest.id},
                                       {"fills", guest.fills},
                                       {"faults", guest.fills},
                                       {"resident", 4096}});
  return line;
}

std::string record_of(const std::vector<json>& lines) {
  std::string text;
  for (const json& line : lines) text += line.dump() + "\n";
  return text;
}

TEST(ReportTest, GuestsComeAndGoAndBeginAnew) {
  struct Case {
    const char* name;
    std::vector<Filled> before, after;
    double fills;  // between the two
  };
  for (const Case& c : {Case{"goes on", {{"a", 1, 500}}, {{"a", 1, 520}}, 20},
                        Case{"created anew under its name", {{"a", 1, 500}}, {{"a", 2, 20}}, 20},
                        Case{"and with more than the one before had", {{"a", 1, 500}}, {{"a", 2, 700}}, 700},
                        Case{"came", {{"a", 1, 500}}, {{"a", 1, 500}, {"b", 2, 30}}, 30},
                        Case{"went", {{"a", 1, 500}, {"b", 2, 30}}, {{"a", 1, 500}}, 0},
                        Case{"no ids, goes on", {{"a", 0, 500}}, {{"a", 0, 700}}, 200},
                        Case{"no ids, anew by what fell", {{"a", 0, 500}}, {{"a", 0, 20}}, 20}}) {
    const RecordData data = read(record_of({filled_line(1, c.before), filled_line(2, c.after)}));
    EXPECT_EQ(report_json(data)["series"]["fills"], json::array({nullptr, c.fills})) << c.name;
    std::uint64_t faults = 0;
    for (const GuestSummary& guest : data.guests().held()) faults += guest.growth.faults;
    EXPECT_EQ(static_cast<double>(faults), c.fills) << c.name;
  }
}

// Guests of another host began after the last sample of the host whose place it took. What comes after the end of a
// record is another, of which that is not known.
TEST(ReportTest, WhatAnotherHostsGuestsDidIsOfTheRecord) {
  json another = filled_line(3, {{"a", 1, 40}});
  another["restarted"] = true;
  const std::vector<json> begin = {filled_line(1, {{"a", 1, 500}}), filled_line(2, {{"a", 1, 510}})};
  EXPECT_EQ(report_json(read(record_of({begin[0], begin[1], another})))["series"]["fills"],
            json::array({nullptr, 10.0, 40.0}));
  EXPECT_EQ(report_json(read(record_of({begin[0], begin[1], {{"end", "interrupted"}}, another})))["series"]["fills"],
            json::array({nullptr, 10.0, nullptr}));
  json stranger = filled_line(3, {{"a", 1, 900}});
  stranger["stats"]["pid"] = 8;
  EXPECT_EQ(report_json(read(record_of({begin[0], begin[1], stranger})))["series"]["fills"],
            json::array({nullptr, 10.0, nullptr}));
}

// The clock of a host that is driven by hand stands between samples; one that takes another's place may begin when that
// was last seen. No rate is known of what took no time: it is the next sample's.
TEST(ReportTest, WhatHappensWhileTheClockStandsIsNotLost) {
  json another = filled_line(1, {{"a", 1, 530}});
  another["restarted"] = true;
  for (const json& third : {filled_line(1, {{"a", 1, 530}}), another}) {
    const double of_third = third.contains("restarted") ? 530 : 10;
    const RecordData data = read(record_of({filled_line(1, {{"a", 1, 500}}), filled_line(1, {{"a", 1, 520}}), third,
                                            filled_line(3, {{"a", 1, 570}})}));
    EXPECT_EQ(report_json(data)["series"]["fills"], json::array({nullptr, nullptr, nullptr, (60 + of_third) / 2}));
    EXPECT_EQ(data.guests().held()[0].growth.faults, 60 + of_third);
  }
}

TEST(ReportTest, AGuestHasPointsFromItsFirstToItsLast) {
  const RecordData data = read(record_of({filled_line(1, {{"a", 1, 0}}), filled_line(2, {{"a", 1, 0}, {"b", 2, 0}}),
                                          filled_line(3, {{"a", 1, 0}}), filled_line(4, {{"a", 1, 0}, {"b", 2, 0}}),
                                          filled_line(5, {{"a", 1, 0}})}));
  const json guests = report_json(data)["guests"];
  ASSERT_EQ(guests.size(), 2u);
  EXPECT_EQ(guests[0]["series"]["first"], 0);
  EXPECT_EQ(guests[0]["series"]["resident"].size(), 5u);
  EXPECT_EQ(guests[1]["series"]["first"], 1);
  EXPECT_EQ(guests[1]["series"]["resident"], json::array({4096, nullptr, 4096}));
}

TEST(ReportTest, ThousandsOfShortLivedGuestsMakeASmallPage) {
  constexpr std::uint64_t kMoments = 1000, kAtOnce = 20;
  std::string text;
  std::uint64_t names = 0;
  std::vector<json> guests;
  for (std::uint64_t moment = 1; moment <= kMoments; ++moment) {
    // Half of them are seen a second time, and have done more.
    guests.erase(guests.begin(), guests.size() == kAtOnce ? guests.begin() + kAtOnce / 2 : guests.begin());
    for (json& guest : guests) guest["faults"] = 9;
    while (guests.size() < kAtOnce) {
      ++names;
      guests.push_back({{"name", "job-" + std::to_string(names)},
                        {"id", names},
                        {"memory", 1 << 30},
                        {"resident", (names % 977) << 20},
                        {"faults", 7}});
    }
    json line = filled_line(moment, {});
    line["stats"]["guests"] = guests;
    text += line.dump() + "\n";
  }
  ASSERT_GT(names, 9'900u);
  const RecordData data = read(text + "{\"end\":\"interrupted\"}\n");
  EXPECT_LE(data.guests().held().size(), 2 * kMostListed);
  const std::string page = report_page(data);
  EXPECT_LT(page.size(), std::size_t{2} << 20);
  const json report = report_json(data);
  EXPECT_EQ(report["guests"].size(), kMostListed);
  EXPECT_EQ(report["others"]["guests"], names - kMostListed);
  // All are in the figures: what those of the first sample had done before is not known, the last are seen once.
  std::uint64_t faults = report["others"]["faults"], charted = 0, largest = 0;
  for (const json& guest : report["guests"]) {
    faults += guest["faults"].get<std::uint64_t>();
    charted += guest.contains("series") ? 1 : 0;
    largest += guest["resident_max"] == 976 << 20 ? 1 : 0;
  }
  EXPECT_EQ(faults, 9 * names - 7 * kAtOnce - 2 * (kAtOnce / 2) - 2 * (kAtOnce / 2));
  EXPECT_EQ(charted, kMostCharted);
  EXPECT_EQ(largest, (names + 1) / 977);
}

// The system's clock is set while the record runs; the host's goes on.
TEST(ReportTest, AStepOfTheClockMovesNoPoint) {
  for (const std::int64_t step : {-3'600'000, 7'200'000}) {
    std::vector<json> lines;
    for (std::uint64_t second = 1; second <= 6; ++second) {
      json line = filled_line(second, {{"a", 1, 10 * second}});
      if (second > 3) line["stats"]["wall_time_ms"] = line["stats"]["wall_time_ms"].get<std::int64_t>() + step;
      line["events"] = json::array({{{"kind", "reclaimed"}, {"time_ns", second * 1'000'000'000 - 250'000'000}}});
      lines.push_back(line);
    }
    const RecordData data = read(record_of(lines) + "{\"end\":\"interrupted\"}\n");
    const json report = report_json(data);
    EXPECT_EQ(report["series"]["time"], json::array({kWall + 1000, kWall + 2000, kWall + 3000, kWall + 4000,
                                                     kWall + 5000, kWall + 6000}));
    EXPECT_EQ(data.host().last_ms - data.host().first_ms, 5000);
    EXPECT_EQ(report["series"]["fills"], json::array({nullptr, 10.0, 10.0, 10.0, 10.0, 10.0}));
    EXPECT_EQ(report["events"][4]["time"], kWall + 4750);
    EXPECT_THAT(data.notes(),
                ElementsAre(HasSubstr(step < 0 ? "clock went 3600 s back" : "clock went 7200 s forward")));
  }
  // Less than a few seconds is a clock that is being adjusted.
  json late = filled_line(2, {});
  late["stats"]["wall_time_ms"] = kWall + 4500;
  EXPECT_TRUE(read(record_of({filled_line(1, {}), late, {{"end", "x"}}})).notes().empty());
}

TEST(ReportTest, AnotherHostIsNotPlacedBeforeTheFirst) {
  json another = filled_line(1, {});
  another["restarted"] = true;
  another["stats"]["wall_time_ms"] = kWall - 500'000;
  json later = filled_line(3, {});
  later["stats"]["wall_time_ms"] = kWall - 498'000;
  const RecordData data =
      read(record_of({filled_line(8, {}), filled_line(9, {}), another, later, {{"end", "interrupted"}}}));
  EXPECT_EQ(report_json(data)["series"]["time"],
            json::array({kWall + 8000, kWall + 9000, kWall + 9000, kWall + 11'000}));
  EXPECT_THAT(data.notes(), ElementsAre(HasSubstr("clock went 509 s back"), HasSubstr("another host")));
}

TEST(ReportTest, NotesOfLinesAreCounted) {
  std::string text = filled_line(1, {}).dump() + "\n";
  for (int i = 0; i < 1000; ++i) text += "{\"wall_time_ms\":1002000,\"error\":\"no answer in time\"}\n";
  const RecordData data = read(text);
  ASSERT_EQ(data.notes().size(), kMostLineNotes + 2);
  EXPECT_THAT(data.notes()[kMostLineNotes], HasSubstr("800 notes more"));
  EXPECT_THAT(data.notes().back(), HasSubstr("cut off"));
}

TEST(ReportTest, TheKindsOfMemoryAddUp) {
  for (const double withheld : {0.0, 0.1, 0.7}) {
    fake::Scenario scenario({.withheld = withheld});
    std::string text;
    for (int i = 0; i < 150; ++i) {
      scenario.step();
      text += scenario.record_line().dump() + "\n";
    }
    const RecordData data = read(text);
    std::size_t points_withheld = 0;
    for (const Point& point : data.points()) {
      const auto& of = point.gauges;
      EXPECT_DOUBLE_EQ(
          of[Gauge::resident] + of[Gauge::copies] + of[Gauge::other] + of[Gauge::free] + of[Gauge::withheld],
          of[Gauge::budget]);
      points_withheld += of[Gauge::withheld] > 0 ? 1 : 0;
      double size = 0;
      for (const GuestSummary& guest : data.guests().held()) size += static_cast<double>(guest.last.memory);
      EXPECT_DOUBLE_EQ(
          of[Gauge::resident] + of[Gauge::shared] + of[Gauge::swapped] + of[Gauge::ballooned] + of[Gauge::untouched],
          size);
    }
    EXPECT_EQ(points_withheld > 0, withheld > 0);
    EXPECT_EQ(data.host().withheld_max > 0, withheld > 0);
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
