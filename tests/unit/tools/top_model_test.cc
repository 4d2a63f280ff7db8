#include "top_model.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "locale.h"
#include "tools/scenario.h"

namespace vmmctl {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

json guest(const std::string& name, std::uint64_t resident, std::uint64_t swapped_in = 0) {
  return {{"name", name},        {"pool", "/"},        {"memory", 1 << 30},        {"resident", resident},
          {"granted", resident}, {"target", 64 << 20}, {"swapped_in", swapped_in}, {"home_node", 0}};
}

Sample sample_of(std::uint64_t seconds, std::vector<json> guests, json events = json::array()) {
  Sample sample;
  sample.stats = {{"time_ns", seconds * 1'000'000'000},
                  {"wall_time_ms", 1'700'000'000'000},
                  {"pid", 99},
                  {"memory", 2ULL << 30},
                  {"consumed", 1ULL << 30},
                  {"free", 1ULL << 30},
                  {"state", "hard"},
                  {"capability_level", "full"},
                  {"homes", json::array({{{"id", 0}, {"processors", 4}}})},
                  {"guests", std::move(guests)}};
  sample.events = std::move(events);
  return sample;
}

class TopModelTest : public testing::Test {
 protected:
  TopModelTest() : model_(state()) {}
  static TopState state() {
    TopState first;
    first.charset = Charset::utf8;
    first.socket = "/run/x.vmm";
    return first;
  }
  Action press(const std::string& keys) {
    Action last = Action::none;
    for (const char c : keys) last = model_.key({Key::Kind::character, static_cast<char32_t>(c)});
    return last;
  }
  Action press(Key::Kind kind) { return model_.key({kind, 0}); }
  std::string screen(std::size_t width = 80, std::size_t height = 24) {
    std::string text;
    for (const Line& line : draw(model_.state(), width, height)) text += line.text() + "\n";
    return text;
  }
  std::vector<std::string> order() {
    std::vector<std::string> names;
    for (const Row& row : model_.state().rows()) names.push_back(row.guest->name);
    return names;
  }

  const Utf8Locale locale_;
  TopModel model_;
};

TEST_F(TopModelTest, BeforeTheFirstAnswerItSaysWhatItWaitsFor) {
  EXPECT_THAT(screen(), HasSubstr("/run/x.vmm: waiting for the first answer"));
  EXPECT_EQ(press("d"), Action::none);
  EXPECT_EQ(model_.state().view, View::guests);  // there is nobody to look at
  press(Key::Kind::down);
  press("<>rMGTeh?");
}

TEST_F(TopModelTest, TheScreenShowsHostAndGuests) {
  model_.apply(sample_of(1, {guest("web", 32 << 20)}));
  EXPECT_THAT(screen(), AllOf(HasSubstr("process 99"), HasSubstr("state  hard "), HasSubstr("budget 2.00G"),
                              HasSubstr("free 1.00G (50 %"), HasSubstr("overcommit 0.50"), HasSubstr("NODE 0 4 cpus"),
                              HasSubstr("web"), HasSubstr("1.00G  32.0M  64.0M")));
}

TEST_F(TopModelTest, RatesAppearWithTheSecondSample) {
  for (int i = 0; i < 14; ++i) press(Key::Kind::right);
  model_.apply(sample_of(1, {guest("web", 0, 0)}));
  EXPECT_THAT(screen(), HasSubstr("SWR/s"));
  EXPECT_THAT(screen(), Not(HasSubstr("4.00M")));
  model_.apply(sample_of(3, {guest("web", 0, 8 << 20)}));
  EXPECT_THAT(screen(), HasSubstr("4.00M"));
}

TEST_F(TopModelTest, KeysOfColumnsSortAndTurn) {
  model_.apply(sample_of(1, {guest("b", 1 << 20), guest("a", 3 << 20), guest("c", 2 << 20)}));
  EXPECT_THAT(order(), ElementsAre("a", "b", "c"));
  press("G");
  EXPECT_THAT(order(), ElementsAre("a", "c", "b"));  // most first
  press("G");
  EXPECT_THAT(order(), ElementsAre("b", "c", "a"));
  press("r");
  EXPECT_THAT(order(), ElementsAre("a", "c", "b"));
  press("N");
  EXPECT_THAT(order(), ElementsAre("a", "b", "c"));
  press(">>");
  EXPECT_THAT(order(), ElementsAre("a", "c", "b"));  // GRANT is the second
  press("<<r");
  EXPECT_THAT(order(), ElementsAre("c", "b", "a"));
}

TEST_F(TopModelTest, TheColumnThatSortsIsSeenWhereverItIs) {
  model_.apply(sample_of(1, {guest("a", 1)}));
  EXPECT_THAT(screen(), Not(HasSubstr("SWCUR")));
  press("S");
  EXPECT_THAT(screen(), AllOf(HasSubstr("SWCUR  MEMSZ"), HasSubstr("MCTLMAX")));
  EXPECT_THAT(screen(300, 24), HasSubstr("SHRDSVD  SWCUR  SWTGT"));
}

TEST_F(TopModelTest, TheSelectionStaysWithItsGuest) {
  model_.apply(sample_of(1, {guest("a", 1), guest("b", 2), guest("c", 3)}));
  press(Key::Kind::down);
  EXPECT_EQ(model_.state().selected, "b");
  press("G");  // c b a
  press(Key::Kind::down);
  EXPECT_EQ(model_.state().selected, "a");
  press(Key::Kind::page_down);
  EXPECT_EQ(model_.state().selected, "a");
  press(Key::Kind::home);
  EXPECT_EQ(model_.state().selected, "c");
  model_.apply(sample_of(2, {guest("a", 1), guest("b", 2)}));  // it is gone: the first is selected
  EXPECT_EQ(model_.state().selected_row(model_.state().rows()), 0u);
  press(Key::Kind::up);
}

TEST_F(TopModelTest, TheFilterLeavesWhatMatches) {
  model_.apply(sample_of(1, {guest("Web-1", 1), guest("db", 2)}));
  press("/web");
  EXPECT_THAT(screen(), HasSubstr("filter by name or pool: web"));
  press(Key::Kind::enter);
  EXPECT_THAT(order(), ElementsAre("Web-1"));
  EXPECT_THAT(screen(), HasSubstr("filter: web"));
  press("/x");
  press(Key::Kind::enter);
  EXPECT_THAT(screen(), HasSubstr("no guest matches 'webx'"));
  press(Key::Kind::escape);
  EXPECT_THAT(order(), ElementsAre("Web-1", "db"));
}

TEST_F(TopModelTest, TheIntervalIsChecked) {
  press("s0.5");
  EXPECT_EQ(press(Key::Kind::enter), Action::interval);
  EXPECT_EQ(model_.state().interval, std::chrono::milliseconds(500));
  for (const char* wrong : {"", "0", "x", "1e9", "-1", "nan"}) {
    press(std::string("s") + wrong);
    EXPECT_EQ(press(Key::Kind::enter), Action::none) << wrong;
    EXPECT_THAT(screen(), HasSubstr("0.1 to 3600 seconds")) << wrong;
  }
  press("s99");
  press(Key::Kind::backspace);
  press(Key::Kind::escape);
  EXPECT_EQ(model_.state().interval, std::chrono::milliseconds(500));
}

TEST_F(TopModelTest, ALostConnectionIsShownAndEndsWithTheNextSample) {
  model_.apply(sample_of(1, {guest("web", 1)}));
  model_.lost({FailureKind::gone, "/run/x.vmm: nobody listens there"});
  EXPECT_THAT(screen(), AllOf(HasSubstr("NOT CONNECTED"), HasSubstr("nobody listens"), HasSubstr("web")));
  model_.apply(sample_of(2, {guest("web", 1)}));
  EXPECT_THAT(screen(), Not(HasSubstr("NOT CONNECTED")));
}

TEST_F(TopModelTest, AnotherHostBeginsAnew) {
  const json events = json::array({{{"kind", "reclaimed"}, {"guest", "web"}, {"time_ns", 1}}});
  model_.apply(sample_of(1, {guest("web", 1, 100)}, events));
  Sample next = sample_of(2, {guest("web", 1, 5'000'000)});
  next.restarted = true;
  model_.apply(next);
  EXPECT_TRUE(model_.state().events.empty());
  EXPECT_TRUE(model_.state().rates.empty());
  EXPECT_EQ(model_.state().history.at("web").resident.size(), 1u);
}

TEST_F(TopModelTest, DetailShowsHistoryAndTheEventsOfTheGuestAlone) {
  const json events =
      json::array({{{"kind", "reclaimed"}, {"guest", "web"}, {"bytes", 8 << 20}, {"reason", "above its target"}},
                   {{"kind", "swap_write_failed"}, {"guest", "db"}, {"reason", "disk is full"}}});
  model_.apply(sample_of(1, {guest("db", 1), guest("web", 96 << 20)}, events));
  model_.apply(sample_of(2, {guest("db", 1), guest("web", 128 << 20)}));
  press(Key::Kind::down);
  press(Key::Kind::enter);
  EXPECT_THAT(screen(), AllOf(HasSubstr("GUEST web"), HasSubstr("graphs: 0 to 128M"), HasSubstr("resident   128M"),
                              HasSubstr("⣿"), HasSubstr("8.00M above its target"), Not(HasSubstr("disk is full"))));
  press("e");
  EXPECT_THAT(screen(), AllOf(HasSubstr("EVENTS  2"), HasSubstr("disk is full"), HasSubstr("above its target")));
  press("/disk");
  press(Key::Kind::enter);
  EXPECT_THAT(screen(), AllOf(HasSubstr("EVENTS  1"), Not(HasSubstr("above its target"))));
}

// What is looked at is a guest, not a row: another that comes to be first does not take its place.
TEST_F(TopModelTest, DetailStaysWithItsGuest) {
  model_.apply(sample_of(1, {guest("b", 1), guest("c", 2)}));
  press(Key::Kind::enter);  // with no other key before
  EXPECT_THAT(screen(), HasSubstr("GUEST b"));
  model_.apply(sample_of(2, {guest("a", 1), guest("b", 1), guest("c", 2)}));
  EXPECT_THAT(screen(), HasSubstr("GUEST b"));
  press("G");  // c is the first now
  EXPECT_THAT(screen(), HasSubstr("GUEST b"));
  press("/c");
  press(Key::Kind::enter);
  EXPECT_THAT(screen(), HasSubstr("GUEST b"));
  press(Key::Kind::down);
  EXPECT_THAT(screen(), HasSubstr("GUEST c"));
}

TEST_F(TopModelTest, AGuestThatHasEndedIsNotShownAsAnother) {
  const auto with_id = [](json one, std::uint64_t id) {
    one["id"] = id;
    return one;
  };
  const json web = with_id(guest("web", 96 << 20), 1), db = with_id(guest("zebra", 77 << 20), 2);
  const auto ended = [&] {
    EXPECT_THAT(screen(), AllOf(HasSubstr("guest web has ended"), Not(HasSubstr("GUEST ")), Not(HasSubstr("77.0M"))));
  };
  const auto watch = [&](std::uint64_t second) {
    model_ = TopModel(state());
    model_.apply(sample_of(second, {web, db}));
    press("d");
    EXPECT_THAT(screen(), HasSubstr("GUEST web"));
  };
  watch(1);
  model_.apply(sample_of(2, {db}));
  ended();
  model_.apply(sample_of(3, {with_id(guest("web", 1), 3), db}));  // another of its name
  ended();
  press(Key::Kind::down);
  EXPECT_THAT(screen(), HasSubstr("GUEST web"));  // that one, because it was asked for

  watch(1);
  model_.apply(sample_of(2, {with_id(guest("web", 1), 3), db}));  // at once
  ended();
  press("d");
  press("d");
  EXPECT_THAT(screen(), HasSubstr("GUEST web"));

  watch(1);
  Sample next = sample_of(2, {web, db});  // of another host, which numbers its guests alike
  next.restarted = true;
  model_.apply(next);
  ended();

  watch(1);
  model_.apply(sample_of(2, {}));
  ended();
  press("d");
  EXPECT_THAT(screen(), HasSubstr("no guests"));
}

// Percentiles are of a guest's whole life; beside them is what there was since the look before.
TEST_F(TopModelTest, LatenciesSayOfWhenTheyAre) {
  json web = guest("web", 1);
  web["id"] = 1;
  web["fault_latency"] = {{"count", 1000}, {"sum_ns", 5'000'000'000}, {"p50_ns", 37'700}, {"p99_ns", 4'720'000},
                          {"max_ns", 1'010'000'000}};
  model_.apply(sample_of(1, {web}));
  press("d");
  EXPECT_THAT(screen(), HasSubstr("faults    now -       since it began 1000: p50 37.7 us p99 4.72 ms max 1.01 s"));
  web["fault_latency"]["count"] = 1010;
  web["fault_latency"]["sum_ns"] = 5'000'120'000;
  model_.apply(sample_of(2, {web}));
  EXPECT_THAT(screen(), HasSubstr("faults    now 12 us   since it began 1010: p50 37.7 us p99 4.72 ms max 1.01 s"));
  model_.apply(sample_of(3, {web}));
  EXPECT_THAT(screen(), HasSubstr("faults    now -       since it began"));
}

TEST_F(TopModelTest, WhatIsWithheldIsAPartOfTheBar) {
  Sample sample = sample_of(1, {guest("web", 512 << 20)});
  model_.apply(sample);
  EXPECT_THAT(screen(120), Not(HasSubstr("withheld")));
  sample.stats["withheld"] = 512 << 20;
  sample.stats["free"] = 512 << 20;
  model_.apply(sample);
  const std::string text = screen(120);
  EXPECT_THAT(text, HasSubstr(" × withheld 512M"));
  // A quarter each: the guest, other, free and withheld.
  const auto bar = text.substr(text.find('['), text.find(']') - text.find('['));
  const auto cells = [&](const std::string& mark) {
    std::size_t count = 0;
    for (auto at = bar.find(mark); at != std::string::npos; at = bar.find(mark, at + 1)) ++count;
    return count;
  };
  EXPECT_EQ(cells("▒"), cells("×"));
  EXPECT_EQ(cells("░"), cells("×"));
  EXPECT_LE(cells("█"), cells("×") + 3);  // and what rounding leaves
  EXPECT_GT(cells("×"), 10u);
  EXPECT_THAT(screen(80), HasSubstr("withheld 512M"));
}

TEST_F(TopModelTest, LongReasonsAreReadWhole) {
  std::string reason;
  for (int i = 0; i < 40; ++i) reason += "word" + std::to_string(i) + " ";
  model_.apply(sample_of(1, {guest("web", 1)}, json::array({{{"kind", "reclaimed"}, {"reason", reason}}})));
  press("e");
  const std::string text = screen();
  for (int i = 0; i < 40; ++i) EXPECT_THAT(text, HasSubstr("word" + std::to_string(i)));
}

TEST_F(TopModelTest, HelpNamesEveryColumn) {
  press("h");
  const std::string text = screen(100, 80);
  for (const Column& column : columns()) EXPECT_THAT(text, HasSubstr(column.title));
  EXPECT_THAT(screen(80, 24), HasSubstr("more below"));
  press(Key::Kind::end);
  EXPECT_THAT(screen(80, 24), HasSubstr("those above their targets stop"));
  press(Key::Kind::escape);
  EXPECT_EQ(model_.state().view, View::guests);
}

TEST_F(TopModelTest, OfSeveralHostsOneIsChosen) {
  TopState first = state();
  first.view = View::hosts;
  first.hosts = {{"/a.vmm", HostInfo{"0.1.0", 5, 0, false}}, {"/b.vmm", HostInfo{"0.1.0", 6, 0, true}}};
  model_ = TopModel(first);
  EXPECT_THAT(screen(), AllOf(HasSubstr("/a.vmm  process 5"), HasSubstr("/b.vmm  process 6, libvmm 0.1.0, control")));
  press(Key::Kind::down);
  press(Key::Kind::down);
  EXPECT_EQ(press(Key::Kind::enter), Action::attach);
  EXPECT_EQ(model_.state().socket, "/b.vmm");
}

TEST_F(TopModelTest, TheChosenHostIsSeenHoweverManyThereAre) {
  TopState first = state();
  first.view = View::hosts;
  const auto socket = [](int i) { return "/h" + std::to_string(i) + ".vmm"; };
  for (int i = 10; i < 50; ++i) first.hosts.push_back({socket(i), HostInfo{"0.1.0", i, 0, false}});
  model_ = TopModel(first);
  EXPECT_THAT(screen(80, 24), AllOf(HasSubstr("/h10.vmm"), Not(HasSubstr("/h49.vmm"))));
  for (int i = 11; i < 50; ++i) {
    press(Key::Kind::down);
    EXPECT_THAT(screen(80, 24), HasSubstr(socket(i)));
  }
  EXPECT_EQ(press(Key::Kind::enter), Action::attach);
  EXPECT_EQ(model_.state().socket, "/h49.vmm");
}

TEST_F(TopModelTest, NoScreenIsTooSmallAndNoNameBreaksOne) {
  fake::Scenario scenario({.guests = 40, .nodes = 8});
  scenario.rename(0, "\x1b[2J\n\ttab");
  scenario.rename(1, "日本語の長い名前のゲストです");
  scenario.rename(2, std::string(300, 'x'));
  scenario.rename(3, "e\u0301\u0301\u0301\u202e");
  std::uint64_t since = 0;
  for (int i = 0; i < 200; ++i) {
    scenario.step();
    Sample sample;
    sample.stats = scenario.stats();
    const json page = scenario.events(since);
    since = page["next"];
    sample.events = page["events"];
    model_.apply(sample);
  }
  for (const Charset charset : {Charset::utf8, Charset::ascii}) {
    for (const char* keys : {"", "d", "e", "h", "/"}) {
      TopState shown = model_.state();
      shown.charset = charset;
      TopModel model(shown);
      for (const char* key = keys; *key != '\0'; ++key) model.key({Key::Kind::character, static_cast<char32_t>(*key)});
      for (const std::size_t width : {1U, 2U, 10U, 40U, 80U, 81U, 200U, 400U}) {
        for (const std::size_t height : {1U, 2U, 3U, 8U, 24U, 60U}) {
          const Lines lines = draw(model.state(), width, height);
          ASSERT_EQ(lines.size(), height);
          for (const Line& line : lines) {
            const std::string text = line.text();
            ASSERT_LE(line.width(), width) << keys << " " << width << "x" << height << ": " << text;
            ASSERT_TRUE(std::none_of(text.begin(), text.end(), [](char c) {
              return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
            })) << text;
            ASSERT_TRUE(charset == Charset::utf8 || std::all_of(text.begin(), text.end(), [](char c) { return c > 0; }))
                << text;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace vmmctl
