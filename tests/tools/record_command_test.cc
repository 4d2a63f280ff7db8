// vmmctl record: what it writes of a host, of one that ends or is another, and where it is written to.
#include <atomic>
#include <csignal>
#include <fstream>
#include <optional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client_rig.h"
#include "program.h"
#include "scenario.h"
#include "support/eventually.h"

namespace fake {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using vmm::test::eventually;

class RecordCommandTest : public ClientRig {};

TEST_F(RecordCommandTest, ARecordHoldsWhatTheHostToldAndEveryEventOnce) {
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

TEST_F(RecordCommandTest, ARecordEndsCleanlyBySignal) {
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

TEST_F(RecordCommandTest, ARecordOfAHostThatEndsSaysSo) {
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

// The same process may end a host and make another at the same path, whose events begin anew.
TEST_F(RecordCommandTest, ARecordTellsWhenTheHostIsAnother) {
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

TEST_F(RecordCommandTest, ARecordGoesOnAfterAnAnswerThatIsNone) {
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
TEST_F(RecordCommandTest, AnEarlierRecordStaysWhereThereIsNoHost) {
  std::ofstream(directory_.file("r.jsonl")) << "earlier\n";
  const auto outcome = vmmctl({"record", "--socket", socket(), "-o", directory_.file("r.jsonl")});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(file_text(directory_.file("r.jsonl")), "earlier\n");
  // What answers and is none is no reason either.
  const auto host = answering(json_answer({{"name", "another"}}));
  EXPECT_EQ(vmmctl({"record", "--socket", socket(), "-o", directory_.file("r.jsonl")}).status, 1);
  EXPECT_EQ(file_text(directory_.file("r.jsonl")), "earlier\n");
}

TEST_F(RecordCommandTest, AnEarlierRecordStaysWhereNoSampleCameInTime) {
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
TEST_F(RecordCommandTest, AFileThatCannotBeWrittenIsNamedBeforeTheHostIsAsked) {
  Answer hangs;
  hangs.hang = true;
  const auto host = answering(hangs);
  const auto outcome = vmmctl({"record", "--socket", socket(), "-o", directory_.file("no/such")});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr(directory_.file("no/such") + ": No such file or directory"));
  EXPECT_THAT(host.requests(), testing::IsEmpty());
}

TEST_F(RecordCommandTest, AFileThatCannotBeWrittenIsNamed) {
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
