// What answers on a socket need not be a host: vmmctl says what is wrong, and ends.
#include <algorithm>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client_rig.h"
#include "http.h"
#include "program.h"
#include "scenario.h"

namespace fake {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using vmmctl::FailureKind;

class ClientTest : public ClientRig {};

TEST_F(ClientTest, WhatIsNoAnswerIsToldApart) {
  Answer hangs;
  hangs.hang = true;
  Answer begins;
  begins.raw = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{";
  begins.hang = true;
  Answer cut{200, "{\"some\": \"json\"}"};
  cut.cut = 70;
  Answer closes;
  closes.cut = 0;
  Answer noise;
  noise.raw = std::string("\0\xff\x1b[2J", 6);
  Answer huge;
  huge.raw = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
  struct Case {
    const char* name;
    Answer answer;
    FailureKind kind;
  };
  vmmctl::Limits limits;
  limits.timeout = std::chrono::milliseconds(200);
  for (const Case& c : {Case{"hangs", hangs, FailureKind::slow}, Case{"begins and hangs", begins, FailureKind::slow},
                        Case{"cut", cut, FailureKind::garbage}, Case{"closes", closes, FailureKind::garbage},
                        Case{"noise", noise, FailureKind::garbage}, Case{"huge", huge, FailureKind::garbage}}) {
    const FakeHost host(socket(), [&](const std::string&, const std::string&) { return c.answer; });
    const auto response = vmmctl::request(host.path(), "GET", "/stats.json", limits);
    ASSERT_FALSE(response) << c.name;
    EXPECT_EQ(response.error().kind, c.kind) << c.name << ": " << response.error().message();
  }
}

// A socket whose queue is full answers nothing, not even the connection.
TEST_F(ClientTest, AFullQueueIsNotWaitedForLongerThanTheLimit) {
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener, 0), 0);
  vmmctl::Limits limits;
  limits.timeout = std::chrono::milliseconds(200);
  // The first few connect and are not answered, the others do not connect.
  for (int i = 0; i < 4; ++i) {
    const auto response = vmmctl::request(socket(), "GET", "/", limits);
    ASSERT_FALSE(response);
    EXPECT_EQ(response.error().kind, FailureKind::slow) << response.error().message();
  }
  std::vector<int> waiting;
  for (int i = 0; i < 2; ++i) {
    waiting.push_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    [[maybe_unused]] const int ignored =
        ::connect(waiting.back(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  const auto response = vmmctl::request(socket(), "GET", "/", limits);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().kind, FailureKind::slow);
  for (const int fd : waiting) ::close(fd);
  ::close(listener);
}

TEST_F(ClientTest, OrdinaryFilesAndDeadSocketsAreNamed) {
  const auto missing = vmmctl({"record", "-n", "1", "--socket", socket()});
  EXPECT_EQ(missing.status, 1);
  EXPECT_THAT(missing.err, HasSubstr(socket() + ": there is no such socket (is the host running"));
  { const auto host = answering({}); }
  const int dead = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(dead, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ::close(dead);
  EXPECT_THAT(vmmctl({"top", "--batch", socket()}).err, HasSubstr("nobody listens there"));
}

TEST_F(ClientTest, AProgramThatIsNoHostIsNotTakenForOne) {
  const auto host = answering(json_answer({{"name", "another"}}));
  const auto outcome = vmmctl({"record", "-n", "1", "--socket", socket()});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("is no host of libvmm"));
}

TEST_F(ClientTest, TheSocketIsNamedByTheEnvironment) {
  Scenario scenario;
  const FakeHost host(socket(), scenario.handler());
  const auto outcome = vmmctl({"record", "-n", "1"}, {"VMM_SOCKET=" + socket()});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(json::parse(outcome.out.substr(0, outcome.out.find('\n')))["stats"]["pid"], 4242);
}

TEST_F(ClientTest, BatchModeWritesALineForEachLook) {
  Scenario scenario;
  const FakeHost host(socket(), scenario.handler());
  const auto outcome = vmmctl({"top", "--batch", "-n", "3", "-d", "0.1", socket()});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 4);
  EXPECT_THAT(outcome.out, HasSubstr("Group Memory(orders-db)\\Target Size MBytes\""));
}

TEST_F(ClientTest, TopWithoutATerminalSaysWhatToDo) {
  Scenario scenario;
  const FakeHost host(socket(), scenario.handler());
  const auto outcome = vmmctl({"top", socket()});
  EXPECT_EQ(outcome.status, 64);
  EXPECT_THAT(outcome.err, HasSubstr("vmmctl top --batch"));
}

TEST_F(ClientTest, ControlVerbsAreSentAndTheirAnswersTold) {
  const FakeHost host(socket(), [](const std::string&, const std::string& target) {
    return target.starts_with("/control/reclaim") ? json_answer({{"ok", true}, {"bytes", 2097152U}})
                                                  : json_answer({{"ok", true}});
  });
  const auto reclaimed = vmmctl({"reclaim", "--socket", socket(), "web 1", "2M"});
  EXPECT_EQ(reclaimed.status, 0) << reclaimed.err;
  EXPECT_EQ(reclaimed.out, "bytes: 2.00M (2097152 bytes)\n");
  EXPECT_EQ(vmmctl({"restore", "--socket", socket(), "web 1"}).out, "done\n");
  EXPECT_EQ(vmmctl({"rehome", "--socket", socket(), "web 1", "1"}).out, "done\n");
  EXPECT_EQ(vmmctl({"share", "--socket", socket()}).out, "done\n");
  EXPECT_EQ(vmmctl({"set", "--socket", socket(), "web 1", "limit=1K"}).out, "done\n");
  EXPECT_EQ(vmmctl({"set", "--socket", socket(), "--json", "idle_tax=0"}).out, "{\"ok\":true}\n");
  EXPECT_THAT(
      host.requests(),
      testing::ElementsAre("POST /control/reclaim?guest=web%201&bytes=2097152", "POST /control/restore?guest=web%201",
                           "POST /control/rehome?guest=web%201&node=1", "POST /control/share",
                           "POST /control/set?guest=web%201&limit=1024", "POST /control/set?idle_tax=0"));
}

TEST_F(ClientTest, RefusalsSayWhyAndWhatToDo) {
  struct Case {
    Answer answer;
    const char* says;
  };
  for (const Case& c :
       {Case{json_answer({{"error", "control is off"}}, 403),
             "control is off (create the host with HostOptions::stats_control"},
        Case{Answer{403, "no"}, "status 403 (create the host with HostOptions::stats_control"},
        Case{json_answer({{"error", "no guest 'web'"}, {"remedy", "see /stats.json"}}, 404),
             "no guest 'web' (see /stats.json)"},
        Case{json_answer({{"error", "bytes: \x1b[2J"}}, 400), "bytes: �[2J"}, Case{Answer{500, ""}, "status 500"}}) {
    const auto host = answering(c.answer);
    const auto outcome = vmmctl({"reclaim", "--socket", socket(), "web", "1M"});
    EXPECT_EQ(outcome.status, 1);
    EXPECT_THAT(outcome.err, HasSubstr(c.says));
    EXPECT_EQ(outcome.out, "");
  }
}

TEST_F(ClientTest, WrongUseHasAStatusOfItsOwn) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{},
                                                {"nonsense"},
                                                {"reclaim"},
                                                {"top", "-d", "0"},
                                                {"record", "-n", "-1"},
                                                {"reclaim", "web", "much"},
                                                {"top", "-n", "3"}})
    EXPECT_EQ(vmmctl(words).status, 64);
  EXPECT_EQ(vmmctl({"--help"}).status, 0);
  EXPECT_THAT(vmmctl({"--version"}).out, testing::StartsWith("vmmctl "));
}

TEST_F(ClientTest, DoctorsStatusIsTheSeverityOfWhatItSays) {
  const auto outcome = vmmctl({"doctor", "--json"});
  const json document = json::parse(outcome.out);
  int worst = document["level"] == "none" ? 2 : 0;
  for (const json& item : document["items"])
    worst = std::max(worst, item["severity"] == "problem" ? 2 : item["severity"] == "advice" ? 1 : 0);
  EXPECT_EQ(outcome.status, worst);
  const auto broken = vmmctl({"doctor", "--swap-directory", "/proc"});
  EXPECT_EQ(broken.status, 2);
  EXPECT_THAT(broken.out, HasSubstr("problem  swap_directory"));
}

// What a guest is called is read on terminals, too.
TEST_F(ClientTest, NoNameReachesTheTerminalAsItIs) {
  Scenario scenario;
  const std::string name = "\xc2\x9b" "2Jx";
  scenario.rename(0, name);
  const FakeHost host(socket(), scenario.handler());
  const auto recorded = vmmctl({"record", "-n", "1", "--socket", socket()});
  EXPECT_THAT(recorded.out, testing::AllOf(HasSubstr("\\u009b2Jx"), testing::Not(HasSubstr("\xc2\x9b"))));
  EXPECT_EQ(lines_of(recorded.out)[0]["stats"]["guests"][0]["name"], name);
  const auto batch = vmmctl({"top", "--batch", "-n", "1", socket()});
  EXPECT_THAT(batch.out,
              testing::AllOf(HasSubstr("Group Memory(%C2%9B2Jx)"), testing::Not(HasSubstr("\xc2\x9b"))));
}

TEST_F(ClientTest, AnAnswerIsShownWithoutItsControlCharacters) {
  const auto host = answering(json_answer({{"ok", true}, {"note", "\xc2\x9b" "2J"}}));
  EXPECT_EQ(vmmctl({"share", "--json", "--socket", socket()}).out, "{\"note\":\"\\u009b2J\",\"ok\":true}\n");
}

// Counters of another host of the same process are not compared with those of the first.
TEST_F(ClientTest, BatchModeKnowsThatTheHostIsAnother) {
  Scenario scenario({.guests = 1});
  const auto whole = scenario.handler();
  int looks = 0;
  const FakeHost host(socket(), [&](const std::string& method, const std::string& target) {
    Answer answer = whole(method, target);
    json document = json::parse(answer.body);
    if (target == "/") {
      if (++looks == 3) document["started_ns"] = 1;
    } else if (target == "/stats.json") {
      document["guests"][0]["swapped_in"] = looks << 20;
    }
    return json_answer(document);
  });
  const auto outcome = vmmctl({"top", "--batch", "-n", "3", "-d", "0.1", socket()});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  std::istringstream text(outcome.out);
  std::vector<std::vector<std::string>> cells;
  for (std::string line; std::getline(text, line);) {
    std::istringstream words(line);
    cells.emplace_back();
    for (std::string cell; std::getline(words, cell, ',');) cells.back().push_back(cell);
  }
  ASSERT_EQ(cells.size(), 4u);
  const auto at = std::find_if(cells[0].begin(), cells[0].end(),
                               [](const std::string& name) { return name.ends_with("Swap Read MBytes/sec\""); });
  ASSERT_NE(at, cells[0].end());
  const auto column = static_cast<std::size_t>(at - cells[0].begin());
  EXPECT_EQ(cells[2][column], "\"1.00\"");
  EXPECT_EQ(cells[3][column], "\"\"");
}

}  // namespace
}  // namespace fake
