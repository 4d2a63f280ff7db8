// vmmctl top as its user sees it, on a terminal of tmux.
#include <atomic>
#include <optional>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scenario.h"
#include "support/temp_directory.h"
#include "terminal.h"

namespace fake {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

// Statistics that only change when the test changes them.
class StillHost {
 public:
  explicit StillHost(std::int64_t pid = 4242) {
    info_ = {{"name", "libvmm"}, {"version", "0.1.0"}, {"pid", pid}, {"started_ns", pid}, {"control", false}};
    Scenario::Options options;
    options.guests = 3;
    options.pid = pid;
    Scenario scenario(options);
    stats_ = scenario.stats();
    events_ = scenario.events(0);
  }
  void change(const std::function<void(json&)>& edit) {
    const std::lock_guard lock(mutex_);
    edit(stats_);
  }
  void set_events(json list) {
    const std::lock_guard lock(mutex_);
    events_ = {{"next", list.size()}, {"lost", 0}, {"events", std::move(list)}};
  }
  FakeHost::Handler handler() {
    return [this](const std::string&, const std::string& target) {
      const std::lock_guard lock(mutex_);
      if (target == "/") return json_answer(info_);
      if (target == "/stats.json") {
        // Time goes on, or there would be no rates.
        stats_["time_ns"] = stats_["time_ns"].get<std::uint64_t>() + 1'000'000'000;
        return json_answer(stats_);
      }
      json page = events_;
      if (target != "/events.json?since=0") page["events"] = json::array();
      return json_answer(page);
    };
  }

 private:
  std::mutex mutex_;
  json info_, stats_, events_;
};

class TopScreenTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!there_is("tmux")) GTEST_SKIP() << "tmux is not installed";
  }
  std::string socket(const std::string& name = "host.vmm") const { return directory_.file(name); }
  std::string top(const std::string& arguments) const {
    return "LC_ALL=C.UTF-8 '" VMMCTL_PROGRAM "' top -d 0.1 " + arguments + " 2>&1; echo status $?";
  }

  const vmm::test::TempDirectory directory_;
};

// The words of the line that begins with `name`.
std::vector<std::string> row(const std::string& screen, const std::string& name) {
  std::istringstream lines(screen);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name)) continue;
    std::istringstream words(line);
    return {std::istream_iterator<std::string>(words), {}};
  }
  return {};
}

TEST_F(TopScreenTest, TheScreenShowsWhatTheHostTells) {
  StillHost still;
  constexpr std::uint64_t kMiB = 1 << 20;
  still.change([&](json& stats) {
    stats["memory"] = 8192 * kMiB;
    stats["consumed"] = 7168 * kMiB;
    stats["free"] = 1024 * kMiB;
    stats["state"] = "hard";
    stats["shared_saved"] = 300 * kMiB;
    stats["swapped"] = 77 * kMiB;
    json& guest = stats["guests"][1];
    guest["name"] = "zebra";
    guest["memory"] = 3 * 1024 * kMiB;
    guest["resident"] = 700 * kMiB;
    guest["shared"] = 40 * kMiB;
    guest["granted"] = 740 * kMiB;
    guest["target"] = 650 * kMiB;
    guest["active"] = 222 * kMiB;
    guest["balloon_max"] = 100 * kMiB;
    guest["ballooned"] = 55 * kMiB;
    guest["balloon_target"] = 66 * kMiB;
  });
  const FakeHost host(socket(), still.handler());
  Terminal terminal(directory_.path(), top(host.path()), 80, 24);
  ASSERT_TRUE(terminal.shows("zebra"));
  const std::string screen = terminal.screen();
  EXPECT_THAT(screen, HasSubstr("process 4242"));
  EXPECT_THAT(screen, HasSubstr("state  hard   budget 8.00G  consumed 7.00G  free 1.00G (12 %"));
  EXPECT_THAT(screen, HasSubstr("saved 300M"));
  EXPECT_THAT(screen, HasSubstr("swapped 77.0M"));
  EXPECT_THAT(screen, HasSubstr("NODE 1 8 cpus"));
  EXPECT_THAT(row(screen, "NAME"), testing::ElementsAre("NAME", "MEMSZ", "GRANT", "TGT", "TCHD", "MCTL?", "MCTLSZ",
                                                        "MCTLTGT", "MCTLMAX", "SHRD"));
  EXPECT_THAT(row(screen, "zebra"),
              testing::ElementsAre("zebra", "3.00G", "740M", "650M", "222M", "Y", "55.0M", "66.0M", "100M", "40.0M"));
  terminal.press({"q"});
  EXPECT_TRUE(terminal.shows("status 0"));
}

TEST_F(TopScreenTest, KeysSortScrollFilterAndExplain) {
  StillHost still;
  still.change([](json& stats) {
    stats["guests"][0]["swapped"] = 1 << 20;
    stats["guests"][1]["swapped"] = 9 << 20;
    stats["guests"][2]["swapped"] = 5 << 20;
  });
  const FakeHost host(socket(), still.handler());
  Terminal terminal(directory_.path(), top(host.path()), 80, 24);
  ASSERT_TRUE(terminal.shows("web-1"));
  const auto order = [&] {
    const std::string screen = terminal.screen();
    return screen.find("search") < screen.find("web-1") && screen.find("web-1") < screen.find("orders-db");
  };
  EXPECT_FALSE(order());
  terminal.press({"Right", "Right", "Right", "Right", "Right", "S"});
  ASSERT_TRUE(terminal.shows("SWCUR"));
  EXPECT_THAT(terminal.screen(), Not(HasSubstr("MEMSZ")));
  EXPECT_TRUE(order()) << terminal.screen();
  terminal.press({"/", "w", "e", "b", "Enter"});
  ASSERT_TRUE(terminal.shows("filter: web"));
  EXPECT_TRUE(terminal.hides("orders-db"));
  terminal.press({"h"});
  ASSERT_TRUE(terminal.shows("quit"));
  EXPECT_TRUE(terminal.shows("its pages that hold something"));
  terminal.press({"Escape"});
  EXPECT_TRUE(terminal.hides("its pages that hold something"));
  terminal.press({"Escape"});
  EXPECT_TRUE(terminal.shows("orders-db"));
}

TEST_F(TopScreenTest, DetailAndEventsAreReadable) {
  StillHost still;
  still.change([](json& stats) { stats["guests"][2]["resident"] = 512 << 20; });
  still.set_events(json::array({{{"sequence", 0},
                                 {"kind", "reclaimed"},
                                 {"guest", "web-1"},
                                 {"bytes", 33 << 20},
                                 {"mechanism", "swap"},
                                 {"reason", "above its target by 33 MiB"}},
                                {{"sequence", 1}, {"kind", "state_changed"}, {"reason", "high to soft"}}}));
  const FakeHost host(socket(), still.handler());
  Terminal terminal(directory_.path(), top(host.path()), 80, 24);
  ASSERT_TRUE(terminal.shows("web-1"));
  terminal.press({"End", "Enter"});
  ASSERT_TRUE(terminal.shows("GUEST web-1"));
  EXPECT_TRUE(terminal.shows("resident   512M"));
  EXPECT_TRUE(terminal.shows("⣿"));
  EXPECT_THAT(terminal.screen(), HasSubstr("33.0M swap: above its target by 33 MiB"));
  EXPECT_THAT(terminal.screen(), Not(HasSubstr("high to soft")));
  terminal.press({"e"});
  EXPECT_TRUE(terminal.shows("high to soft"));
}

TEST_F(TopScreenTest, AGuestThatEndsIsMissed) {
  StillHost still;
  const FakeHost host(socket(), still.handler());
  Terminal terminal(directory_.path(), top(host.path()), 80, 24);
  ASSERT_TRUE(terminal.shows("orders-db"));
  terminal.press({"Enter"});
  ASSERT_TRUE(terminal.shows("GUEST orders-db"));
  EXPECT_TRUE(terminal.shows("since it began"));
  still.change([](json& stats) { stats["guests"].erase(0); });
  EXPECT_TRUE(terminal.shows("guest orders-db has ended"));
  EXPECT_THAT(terminal.screen(), Not(HasSubstr("GUEST search")));
  terminal.press({"Escape"});
  EXPECT_TRUE(terminal.shows("search"));
}

TEST_F(TopScreenTest, ItFollowsTheSizeOfTheTerminal) {
  StillHost still;
  const FakeHost host(socket(), still.handler());
  Terminal terminal(directory_.path(), top(host.path()), 80, 24);
  ASSERT_TRUE(terminal.shows("columns 1-9 of 23"));
  terminal.resize(220, 50);
  ASSERT_TRUE(terminal.shows("OVHD"));
  EXPECT_TRUE(terminal.hides("columns 1-9 of 23"));
  terminal.resize(30, 8);
  EXPECT_TRUE(terminal.hides("OVHD"));
  EXPECT_TRUE(terminal.shows("q quit"));
  EXPECT_TRUE(terminal.shows("NAME"));
  terminal.resize(80, 24);
  EXPECT_TRUE(terminal.shows("columns 1-9 of 23"));
}

TEST_F(TopScreenTest, ALostHostIsShownAndFoundAgain) {
  StillHost first(1000), second(2000);
  std::optional<FakeHost> host;
  host.emplace(socket(), first.handler());
  Terminal terminal(directory_.path(), top(socket()), 80, 24);
  ASSERT_TRUE(terminal.shows("process 1000"));
  host.reset();
  ASSERT_TRUE(terminal.shows("NOT CONNECTED"));
  EXPECT_THAT(terminal.screen(), HasSubstr("web-1"));  // the last figures stay
  host.emplace(socket(), second.handler());
  EXPECT_TRUE(terminal.shows("process 2000"));
  EXPECT_TRUE(terminal.hides("NOT CONNECTED"));
}

TEST_F(TopScreenTest, AHostThatHangsHoldsNothingUp) {
  std::atomic<bool> hang = false;
  StillHost still;
  const FakeHost::Handler answer = still.handler();
  const FakeHost host(socket(), [&](const std::string& method, const std::string& target) {
    Answer given = answer(method, target);
    given.hang = hang;
    if (hang) given.raw = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{";
    return given;
  });
  Terminal terminal(directory_.path(), top(host.path()), 80, 24);
  ASSERT_TRUE(terminal.shows("web-1"));
  hang = true;
  ASSERT_TRUE(terminal.shows("NOT CONNECTED"));
  terminal.press({"h"});
  EXPECT_TRUE(terminal.shows("its pages that hold something"));
  terminal.press({"q"});  // a request is under way
  EXPECT_TRUE(terminal.shows("status 0"));
}

TEST_F(TopScreenTest, NoNameBreaksTheScreen) {
  StillHost still;
  still.change([](json& stats) {
    stats["guests"][0]["name"] = "\x1b[2J\x1b[31mred\r\n";
    stats["guests"][1]["name"] = "日本語の長い名前のゲスト";
    stats["guests"][2]["name"] = "last";
  });
  const FakeHost host(socket(), still.handler());
  Terminal terminal(directory_.path(), top(host.path()), 80, 24);
  ASSERT_TRUE(terminal.shows("last"));
  const std::string screen = terminal.screen();
  EXPECT_THAT(screen, HasSubstr("�[2J�[31mred…"));
  EXPECT_THAT(screen, HasSubstr("日本語の長い"));
  EXPECT_THAT(screen, HasSubstr("budget"));
  EXPECT_THAT(row(screen, "last").size(), 10u);
}

TEST_F(TopScreenTest, WithoutUtf8TheScreenIsAscii) {
  StillHost still;
  still.change([](json& stats) { stats["guests"][0]["name"] = "für"; });
  const FakeHost host(socket(), still.handler());
  Terminal terminal(directory_.path(), "LC_ALL=C '" VMMCTL_PROGRAM "' top -d 0.1 " + host.path(), 80, 24);
  ASSERT_TRUE(terminal.shows("f?r"));
  terminal.press({"d"});
  ASSERT_TRUE(terminal.shows("GUEST"));
  const std::string screen = terminal.screen();
  EXPECT_TRUE(std::all_of(screen.begin(), screen.end(), [](char c) { return c > 0; })) << screen;
}

TEST_F(TopScreenTest, AmongSeveralHostsOneIsChosen) {
  StillHost first(1000), second(2000);
  const FakeHost one(socket("a.vmm"), first.handler()), two(socket("b.vmm"), second.handler());
  Terminal terminal(directory_.path(), "env -u VMM_SOCKET " + top(""), 120, 24);
  ASSERT_TRUE(terminal.shows("which host?"));
  ASSERT_TRUE(terminal.shows(two.path() + "  process 2000"));
  // Others may run on this machine: down to ours.
  const auto chosen = [&] {
    const std::string screen = terminal.screen();
    const auto at = screen.find(two.path());
    return std::count(screen.begin(), screen.begin() + static_cast<std::ptrdiff_t>(at), '\n') - 2;
  }();
  for (std::ptrdiff_t i = 0; i < chosen; ++i) terminal.press({"Down"});
  terminal.press({"Enter"});
  EXPECT_TRUE(terminal.shows("web-1"));
  EXPECT_THAT(terminal.screen(), HasSubstr("process 2000"));
}

TEST_F(TopScreenTest, ProcessesNameHosts) {
  StillHost still(777'777);
  const FakeHost host(socket(), still.handler());
  Terminal terminal(directory_.path(), top("777777"), 80, 24);
  EXPECT_TRUE(terminal.shows("process 777777"));
}

}  // namespace
}  // namespace fake
