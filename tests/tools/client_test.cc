// What answers on a socket need not be a host: vmmctl says what is wrong, and ends.
#include <algorithm>
#include <csignal>
#include <fstream>
#include <optional>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http.h"
#include "program.h"
#include "scenario.h"
#include "support/eventually.h"
#include "support/temp_directory.h"

namespace fake {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using vmm::test::eventually;
using vmmctl::FailureKind;

class ClientTest : public testing::Test {
 protected:
  std::string socket() const { return directory_.file("host.vmm"); }
  FakeHost answering(Answer answer) const {
    return FakeHost(socket(), [answer](const std::string&, const std::string&) { return answer; });
  }

  const vmm::test::TempDirectory directory_;
};

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

// The lines of a record, each as JSON.
std::vector<json> lines_of(const std::string& text) {
  std::vector<json> lines;
  std::size_t begin = 0;
  for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    lines.push_back(json::parse(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  EXPECT_EQ(begin, text.size()) << "the last line has no end";
  return lines;
}

TEST_F(ClientTest, ARecordHoldsWhatTheHostToldAndEveryEventOnce) {
  Scenario scenario;
  for (int i = 0; i < 150; ++i) scenario.step();
  const auto before = scenario.events(0)["events"].size();
  const FakeHost host(socket(), scenario.handler());
  const auto outcome =
      vmmctl({"record", "-n", "5", "-d", "0.1", "--socket", socket(), "-o", directory_.file("r.jsonl")});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  const auto lines = lines_of(file_text(directory_.file("r.jsonl")));
  ASSERT_EQ(lines.size(), 6u);
  EXPECT_EQ(lines[4]["stats"], scenario.stats());
  EXPECT_EQ(lines[5]["end"], "as many samples as were asked for");
  std::uint64_t next = 0;
  for (std::size_t i = 0; i < 5; ++i)
    for (const json& event : lines[i]["events"]) EXPECT_EQ(event["sequence"], next++);
  EXPECT_GE(next, before);
  EXPECT_EQ(next, scenario.events(0)["next"]);
}

TEST_F(ClientTest, ARecordEndsCleanlyBySignal) {
  for (const int number : {SIGINT, SIGTERM}) {
    Scenario scenario;
    const FakeHost host(socket(), scenario.handler());
    Program program({VMMCTL_PROGRAM, "record", "-d", "60", "--socket", socket()});
    // Each line is out as soon as it is there.
    ASSERT_TRUE(eventually([&] { return program.out().find('\n') != std::string::npos; }));
    program.signal(number);
    const auto outcome = program.end();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    const auto lines = lines_of(outcome.out);
    ASSERT_EQ(lines.size(), 2u);
    EXPECT_EQ(lines[1]["end"], "interrupted");
  }
}

TEST_F(ClientTest, ARecordOfAHostThatEndsSaysSo) {
  Scenario scenario;
  std::optional<FakeHost> host;
  host.emplace(socket(), scenario.handler());
  Program program({VMMCTL_PROGRAM, "record", "-d", "0.1", "--socket", socket()});
  ASSERT_TRUE(eventually([&] { return program.out().find('\n') != std::string::npos; }));
  host.reset();
  const auto outcome = program.end();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(lines_of(outcome.out).back()["end"].get<std::string>(), HasSubstr("the host is gone"));
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

// The same process may end a host and make another at the same path, whose events begin anew.
TEST_F(ClientTest, ARecordTellsWhenTheHostIsAnother) {
  Scenario scenario;
  const auto whole = scenario.handler();
  std::atomic<bool> another{false};
  const FakeHost host(socket(), [&](const std::string& method, const std::string& target) {
    Answer answer = whole(method, target);
    if (!another) return answer;
    if (target == "/") {
      json info = json::parse(answer.body);
      info["started_ns"] = info["started_ns"].get<std::uint64_t>() + 1;
      return json_answer(info);
    }
    if (target == "/events.json?since=0") {
      json event = {{"sequence", 1}, {"time_ns", 1},        {"kind", "guest_created"}, {"guest", "newcomer"},
                    {"bytes", 0},    {"mechanism", "none"}, {"reason", "because"}};
      return json_answer({{"next", 2}, {"lost", 0}, {"events", json::array({event})}});
    }
    return answer;
  });
  Program program({VMMCTL_PROGRAM, "record", "-d", "0.1", "--socket", socket()});
  ASSERT_TRUE(eventually([&] { return program.out().find('\n') != std::string::npos; }));
  EXPECT_EQ(program.out().find("newcomer"), std::string::npos);
  another = true;
  ASSERT_TRUE(eventually([&] { return program.out().find("newcomer") != std::string::npos; }));
  program.signal(SIGTERM);
  std::size_t restarts = 0;
  for (const auto& line : lines_of(program.end().out)) restarts += line.contains("restarted") ? 1 : 0;
  EXPECT_EQ(restarts, 1u);
}

TEST_F(ClientTest, ARecordGoesOnAfterAnAnswerThatIsNone) {
  Scenario scenario;
  int looks = 0;
  const FakeHost::Handler answer = scenario.handler();
  const FakeHost host(socket(), [&](const std::string& method, const std::string& target) {
    if (target == "/stats.json" && ++looks == 2) return Answer{200, "not json"};
    return answer(method, target);
  });
  const auto outcome = vmmctl({"record", "-n", "2", "-d", "0.1", "--socket", socket()});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const auto lines = lines_of(outcome.out);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_THAT(lines[1]["error"].get<std::string>(), HasSubstr("not JSON"));
  EXPECT_TRUE(lines[2].contains("stats"));
}

// The host whose record it is may have ended long ago.
TEST_F(ClientTest, AnEarlierRecordStaysWhereThereIsNoHost) {
  std::ofstream(directory_.file("r.jsonl")) << "earlier\n";
  const auto outcome = vmmctl({"record", "--socket", socket(), "-o", directory_.file("r.jsonl")});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(file_text(directory_.file("r.jsonl")), "earlier\n");
  // What answers and is none is no reason either.
  const auto host = answering(json_answer({{"name", "another"}}));
  EXPECT_EQ(vmmctl({"record", "--socket", socket(), "-o", directory_.file("r.jsonl")}).status, 1);
  EXPECT_EQ(file_text(directory_.file("r.jsonl")), "earlier\n");
}

TEST_F(ClientTest, AnEarlierRecordStaysWhereNoSampleCameInTime) {
  std::ofstream(directory_.file("r.jsonl")) << "earlier\n";
  Answer hangs;
  hangs.hang = true;
  const auto host = answering(hangs);
  Program program({VMMCTL_PROGRAM, "record", "--socket", socket(), "-o", directory_.file("r.jsonl")});
  ASSERT_TRUE(eventually([&] { return !host.requests().empty(); }));
  program.signal(SIGINT);
  EXPECT_EQ(program.end().status, 0);
  EXPECT_EQ(file_text(directory_.file("r.jsonl")), "earlier\n");
}

// Nor is the host asked first.
TEST_F(ClientTest, AFileThatCannotBeWrittenIsNamedBeforeTheHostIsAsked) {
  Answer hangs;
  hangs.hang = true;
  const auto host = answering(hangs);
  const auto outcome = vmmctl({"record", "--socket", socket(), "-o", directory_.file("no/such")});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr(directory_.file("no/such") + ": No such file or directory"));
  EXPECT_THAT(host.requests(), testing::IsEmpty());
}

TEST_F(ClientTest, AFileThatCannotBeWrittenIsNamed) {
  Scenario scenario;
  const FakeHost host(socket(), scenario.handler());
  const auto outcome = vmmctl({"record", "-n", "1", "--socket", socket(), "-o", "/proc/nothing"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("/proc/nothing: No such file or directory"));
  EXPECT_THAT(vmmctl({"record", "-n", "1", "--socket", socket(), "-o", "/dev/full"}).err,
              HasSubstr("/dev/full: No space left on device"));
}

}  // namespace
}  // namespace fake
