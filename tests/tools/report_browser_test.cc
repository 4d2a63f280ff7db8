// The page of vmmctl report as a browser shows it.
#include <fstream>
#include <map>
#include <regex>
#include <unistd.h>

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
  Outcome browse(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                      "--user-data-dir=" + directory_.file("chromium"), "--window-size=1280,1000"});
    arguments.push_back("file://" + directory_.file("r.html"));
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

TEST_F(ReportBrowserTest, ItCanBePictured) {
  Scenario scenario;
  std::vector<json> lines;
  for (int i = 0; i < 20; ++i) {
    scenario.step();
    lines.push_back(scenario.record_line());
  }
  page(lines);
  browse({"--screenshot=" + directory_.file("r.png")});
  EXPECT_GT(file_text(directory_.file("r.png")).size(), 20'000u);
}

}  // namespace
}  // namespace fake
