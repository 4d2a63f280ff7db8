// The page of vmmctl report as a browser shows it.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program.h"
#include "scenario.h"
#include "support/temp_directory.h"

namespace fake {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

class ReportBrowserTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!there_is("chromium")) GTEST_SKIP() << "chromium is not installed";
  }

  // The page's elements after its script has run.
  std::string page(const std::vector<json>& lines) {
    std::ofstream record(directory_.file("r.jsonl"));
    for (const json& line : lines) record << line.dump() << "\n";
    record.close();
    const auto made = vmmctl({"report", directory_.file("r.jsonl"), "-o", directory_.file("r.html")});
    EXPECT_EQ(made.status, 0) << made.err;
    return browse({"--dump-dom"}).out;
  }
  Outcome browse(std::vector<std::string> arguments, const std::string& shown = "r.html") {
    arguments.insert(arguments.begin(),
                     {"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                      "--user-data-dir=" + directory_.file("chromium"), "--window-size=1280,1000"});
    arguments.push_back("file://" + directory_.file(shown));
    const Outcome outcome = run(arguments, {"HOME=" + directory_.path()});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome;
  }

  const vmm::test::TempDirectory directory_;
};

// data-figure -> data-value of the elements in `text`.
std::map<std::string, std::string> figures(const std::string& text) {
  std::map<std::string, std::string> found;
  const std::regex figure("data-figure=\"([^\"]*)\" data-value=\"([^\"]*)\"");
  for (auto at = std::sregex_iterator(text.begin(), text.end(), figure); at != std::sregex_iterator(); ++at)
    found.emplace((*at)[1], (*at)[2]);
  return found;
}

// The row of the table of guests.
std::string row_of(const std::string& page, const std::string& guest) {
  const auto begin = page.find("<tr data-guest=\"" + guest + "\">");
  EXPECT_NE(begin, std::string::npos) << guest;
  return begin == std::string::npos ? "" : page.substr(begin, page.find("</tr>", begin) - begin);
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST_F(ReportBrowserTest, TheFiguresOnThePageAreThoseOfTheRecord) {
  Scenario scenario;
  std::vector<json> lines;
  for (int i = 0; i < 300; ++i) {
    scenario.step();
    lines.push_back(scenario.record_line());
  }
  lines.push_back({{"end", "interrupted"}});
  const std::string shown = page(lines);
  ASSERT_THAT(shown, HasSubstr("data-drawn=\"yes\""));
  lines.pop_back();

  std::uint64_t consumed = 0, free = ~std::uint64_t{0}, swapped = 0, events = 0;
  std::map<std::string, std::uint64_t> states;
  for (const json& line : lines) {
    consumed = std::max(consumed, line["stats"]["consumed"].get<std::uint64_t>());
    free = std::min(free, line["stats"]["free"].get<std::uint64_t>());
    swapped = std::max(swapped, line["stats"]["swapped"].get<std::uint64_t>());
    ++states["state_" + line["stats"]["state"].get<std::string>()];
    events += line["events"].size();
  }
  const auto host = figures(shown.substr(0, shown.find("<h2>")));
  EXPECT_EQ(host.at("memory"), to_string(lines[0]["stats"]["memory"]));
  EXPECT_EQ(host.at("consumed_max"), std::to_string(consumed));
  EXPECT_EQ(host.at("free_min"), std::to_string(free));
  EXPECT_EQ(host.at("swapped_max"), std::to_string(swapped));
  for (const auto& [name, samples] : states) EXPECT_EQ(host.at(name), std::to_string(samples)) << name;
  EXPECT_GT(states.size(), 1u) << "the scenario has no shortage";

  const json& last = lines.back()["stats"]["guests"];
  for (std::size_t i = 0; i < last.size(); ++i) {
    std::uint64_t most = 0;
    for (const json& line : lines) most = std::max(most, line["stats"]["guests"][i]["resident"].get<std::uint64_t>());
    const auto guest = figures(row_of(shown, last[i]["name"]));
    EXPECT_EQ(guest.at("resident_max"), std::to_string(most));
    for (const char* name : {"memory", "resident", "target", "active", "swapped"})
      EXPECT_EQ(guest.at(name), to_string(last[i][name])) << name;
    for (const char* name : {"faults", "swapped_in", "swapped_out", "migrations"})
      EXPECT_EQ(guest.at(name), std::to_string(last[i][name].get<std::uint64_t>() -
                                               lines[0]["stats"]["guests"][i][name].get<std::uint64_t>()))
          << name;
  }
  EXPECT_EQ(count(shown, "<tr data-kind="), events);
  EXPECT_EQ(count(shown, "data-points=\"300\""), 8 + last.size());  // every chart has every moment
  EXPECT_GT(count(shown, "data-state=\"soft\""), 0u);
  EXPECT_THAT(shown, HasSubstr("The record ends: interrupted."));
}

TEST_F(ReportBrowserTest, OneSampleAndAHundredGuestsAreShown) {
  Scenario scenario({.guests = 100, .nodes = 1});
  const std::string shown = page({scenario.record_line(), {{"end", "x"}}});
  ASSERT_THAT(shown, HasSubstr("data-drawn=\"yes\""));
  EXPECT_EQ(count(shown, "data-guest-chart="), 50u);
  EXPECT_THAT(shown, HasSubstr("Of 100 guests these are the 50 that held most memory."));
  EXPECT_EQ(count(shown, "<tr data-guest="), 100u);
  EXPECT_THAT(shown, HasSubstr("Rates need a second sample."));
  EXPECT_THAT(shown, HasSubstr("The machine has one node"));
  EXPECT_THAT(shown, Not(HasSubstr("NaN")));
  EXPECT_THAT(shown, Not(HasSubstr("Infinity")));
}

TEST_F(ReportBrowserTest, ALongRecordIsDrawnInFewPoints) {
  Scenario scenario({.guests = 2});
  std::vector<json> lines;
  for (int i = 0; i < 10'000; ++i) {
    scenario.step();
    lines.push_back(scenario.record_line());
  }
  const std::string shown = page(lines);
  ASSERT_THAT(shown, HasSubstr("data-drawn=\"yes\""));
  EXPECT_THAT(shown, HasSubstr("10000 samples"));
  EXPECT_THAT(shown, HasSubstr("is the mean of up to 32 samples"));
  EXPECT_LT(file_text(directory_.file("r.html")).size(), std::size_t{4} << 20);
  EXPECT_THAT(shown, Not(HasSubstr("NaN")));
}

TEST_F(ReportBrowserTest, NamesAreTextWhateverTheyAre) {
  Scenario scenario({.guests = 1});
  const std::string evil = "<script>document.title='evil'</script><img src=x onerror=\"document.title='evil'\">";
  scenario.rename(0, evil);
  json line = scenario.record_line();
  line["events"] = json::array({{{"kind", evil}, {"guest", evil}, {"mechanism", evil}, {"reason", evil}}});
  line["stats"]["guests"][0]["pool"] = evil;
  line["stats"]["state"] = evil;
  line["stats"]["version"] = evil;
  const std::string shown = page({line, {{"error", evil}}, {{"end", evil}}});
  ASSERT_THAT(shown, HasSubstr("data-drawn=\"yes\""));
  EXPECT_THAT(shown, HasSubstr("<title>libvmm report</title>"));
  EXPECT_THAT(shown, Not(HasSubstr("<img")));
  EXPECT_THAT(shown, HasSubstr("&lt;img src=x"));  // shown as it is
}

// A drawn chart, taken from the page's elements.
struct Drawn {
  double width = 0, height = 0;
  std::vector<std::vector<std::pair<double, double>>> paths;
};

// What stands in quotation marks after `mark`; `from` is moved behind it, or to the end.
std::string quoted_after(const std::string& text, const std::string& mark, std::size_t& from) {
  const auto at = text.find(mark + "\"", from);
  if (at == std::string::npos) {
    from = text.size();
    return {};
  }
  const auto begin = at + mark.size() + 1;
  from = text.find('"', begin);
  return text.substr(begin, from - begin);
}

std::vector<Drawn> charts_of(const std::string& page) {
  std::vector<Drawn> charts;
  for (auto begin = page.find("<svg "); begin != std::string::npos; begin = page.find("<svg ", begin + 1)) {
    const std::string text = page.substr(begin, page.find("</svg>", begin) - begin);
    Drawn& chart = charts.emplace_back();
    std::size_t at = 0;
    chart.width = std::atof(quoted_after(text, "width=", at).c_str());
    chart.height = std::atof(quoted_after(text, "height=", at).c_str());
    for (;;) {
      const std::string path = quoted_after(text, "<path d=", at);
      if (path.empty()) break;
      auto& corners = chart.paths.emplace_back();
      for (auto to = path.find_first_of("ML"); to != std::string::npos; to = path.find_first_of("ML", to + 1)) {
        char* end = nullptr;
        const double x = std::strtod(path.c_str() + to + 1, &end);
        corners.emplace_back(x, std::strtod(end, nullptr));
      }
    }
  }
  return charts;
}

TEST_F(ReportBrowserTest, EveryChartIsDrawnWithinItsBox) {
  Scenario scenario;
  std::vector<json> lines;
  for (int i = 0; i < 300; ++i) {
    scenario.step();
    lines.push_back(scenario.record_line());
  }
  const auto charts = charts_of(page(lines));
  ASSERT_EQ(charts.size(), 8 + lines[0]["stats"]["guests"].size());
  for (const Drawn& chart : charts) {
    EXPECT_GT(chart.width, 200);
    EXPECT_GT(chart.height, 100);
    ASSERT_FALSE(chart.paths.empty());
    double lowest = chart.height, highest = 0;
    for (const auto& path : chart.paths) {
      ASSERT_GE(path.size(), 299u);  // a corner for each moment; there are no rates in the first
      double left = chart.width, right = 0;
      for (const auto& [x, y] : path) {
        left = std::min(left, x);
        right = std::max(right, x);
        lowest = std::min(lowest, y);
        highest = std::max(highest, y);
      }
      EXPECT_GT(left, 0);
      EXPECT_LT(right, chart.width);
      EXPECT_GT(right - left, 0.6 * chart.width);
    }
    EXPECT_GE(lowest, 0);
    EXPECT_LT(highest, chart.height);
    EXPECT_GT(highest - lowest, 0.2 * chart.height);
  }
}

std::string base64(const std::string& bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned long three = 0;
    for (std::size_t j = i; j < i + 3; ++j)
      three = three << 8 | (j < bytes.size() ? static_cast<unsigned char>(bytes[j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j) text += i + j <= bytes.size() ? kDigits[three >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

TEST_F(ReportBrowserTest, EachKindOfMemoryIsSeenInItsColour) {
  Scenario scenario({.withheld = 0.2});
  std::vector<json> lines;
  for (int i = 0; i < 45; ++i) {
    scenario.step();
    lines.push_back(scenario.record_line());
    ASSERT_EQ(lines.back()["stats"]["state"], "high") << "a band would shade the colours";
  }
  page(lines);
  browse({"--window-size=1280,1400", "--screenshot=" + directory_.file("r.png")});
  // Layers let a part of the white card through, unlike what stands beside their names: these are those of the charts.
  const std::string style = file_text(directory_.file("r.html"));
  const std::vector<std::string> names = {"blue", "purple", "grey", "pale", "brown"};
  json wanted = json::array();
  for (const std::string& name : names) {
    const auto at = style.find("--" + name + ": #");
    ASSERT_NE(at, std::string::npos) << name;
    const auto colour = std::stoul(style.substr(at + name.size() + 5, 6), nullptr, 16);
    json parts = json::array();
    for (const int shift : {16, 8, 0}) parts.push_back(0.82 * static_cast<double>(colour >> shift & 0xFF) + 0.18 * 255);
    wanted.push_back(parts);
  }
  // The browser that made the picture takes it apart.
  std::ofstream(directory_.file("counts.html"))
      << "<body><img id=picture src=\"data:image/png;base64," << base64(file_text(directory_.file("r.png")))
      << "\"><script>const wanted = " << wanted.dump() << R"(;
        onload = () => {
          const picture = document.getElementById("picture");
          const canvas = document.createElement("canvas");
          canvas.width = picture.naturalWidth;
          canvas.height = picture.naturalHeight;
          const context = canvas.getContext("2d");
          context.drawImage(picture, 0, 0);
          const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
          const counts = wanted.map(() => 0);
          for (let at = 0; at < pixels.length; at += 4)
            wanted.forEach((colour, i) => {
              if (colour.every((part, k) => Math.abs(pixels[at + k] - part) < 2.5)) ++counts[i];
            });
          document.body.textContent = "counts " + JSON.stringify(counts);
        };</script>)";
  const std::string shown = browse({"--dump-dom"}, "counts.html").out;
  const auto at = shown.find("counts [");
  ASSERT_NE(at, std::string::npos) << shown.substr(shown.size() - std::min<std::size_t>(shown.size(), 500));
  const json counts = json::parse(shown.substr(at + 7, shown.find(']', at) - at - 6));
  ASSERT_EQ(counts.size(), names.size());
  // A line of a chart's width, at least; of what there is much, much.
  for (std::size_t i = 0; i < names.size(); ++i) EXPECT_GT(counts[i], 300) << names[i];
  EXPECT_GT(counts[0], 50'000);
  EXPECT_GT(counts[3], 50'000);
}

TEST_F(ReportBrowserTest, WhatIsWithheldIsShownWhereThereIsAny) {
  Scenario scenario({.withheld = 0.2}), plain;
  std::vector<json> lines, plain_lines;
  std::uint64_t most = 0;
  for (int i = 0; i < 45; ++i) {
    scenario.step();
    lines.push_back(scenario.record_line());
    most = std::max(most, lines.back()["stats"]["withheld"].get<std::uint64_t>());
    plain.step();
    plain_lines.push_back(plain.record_line());
  }
  const std::string shown = page(lines);
  EXPECT_EQ(figures(shown).at("withheld_max"), std::to_string(most));
  EXPECT_THAT(shown, HasSubstr("</i>withheld</li>"));
  const std::string without = page(plain_lines);
  ASSERT_THAT(without, HasSubstr("data-drawn=\"yes\""));
  EXPECT_THAT(without.substr(0, without.find("<script")), Not(HasSubstr("withheld")));
}

TEST_F(ReportBrowserTest, OfThousandsOfGuestsTheOthersAreSummedUp) {
  Scenario scenario({.guests = 2100});
  const std::string shown = page({scenario.record_line(), {{"end", "x"}}});
  ASSERT_THAT(shown, HasSubstr("data-drawn=\"yes\""));
  EXPECT_EQ(count(shown, "<tr data-guest="), 2000u);
  EXPECT_EQ(count(shown, "data-guest-chart="), 50u);
  EXPECT_THAT(shown, HasSubstr("data-figure=\"others\" data-value=\"100\""));
  EXPECT_THAT(shown, HasSubstr("Of 2100 guests these are the 50 that held most memory."));
}

// A guest's values stand at the moments in which it was there.
TEST_F(ReportBrowserTest, AGuestThatCameLateIsDrawnLate) {
  Scenario scenario({.guests = 2});
  std::vector<json> lines;
  for (int i = 0; i < 20; ++i) {
    scenario.step();
    lines.push_back(scenario.record_line());
    if (i < 10) lines.back()["stats"]["guests"].erase(1);
  }
  const auto charts = charts_of(page(lines));
  ASSERT_GE(charts.size(), 2u);
  const Drawn& late = charts.back();
  for (const auto& path : late.paths) {
    ASSERT_EQ(path.size(), 10u);
    EXPECT_GT(path.front().first, 0.5 * late.width);
  }
}

}  // namespace
}  // namespace fake
