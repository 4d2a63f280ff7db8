#include "snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "columns.h"
#include "rates.h"

namespace vmmctl {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST(SnapshotTest, FiguresAreReadByTheirNames) {
  const auto document = parse_json(R"({
    "time_ns": 5, "wall_time_ms": 1700000000123, "pid": 77, "version": "1.2.3", "memory": 18446744073709551615,
    "consumed": 9007199254740993, "withheld": 12, "state": "soft", "capability_level": "full", "min_free": 3,
    "guests": [{"name": "w\u00e9b", "id": 21, "memory": 4096, "resident": 1, "home_node": 1, "stopped": true,
                "swap_in_latency": {"count": 2, "sum_ns": 9, "p50_ns": 3, "p99_ns": 4, "max_ns": 5}}, 17],
    "homes": [{"id": 3, "load": 0.5, "free": 8}], "pools": [{"name": "/a", "limit": 6}], "unknown": []})");
  ASSERT_TRUE(document);
  const auto snapshot = parse_snapshot(*document);
  ASSERT_TRUE(snapshot);
  EXPECT_EQ(snapshot->memory, 18446744073709551615U);
  EXPECT_EQ(snapshot->consumed, 9007199254740993U);  // more than a double holds exactly
  EXPECT_EQ(snapshot->withheld, 12u);
  EXPECT_EQ(snapshot->wall_time_ms, 1700000000123);
  EXPECT_EQ(snapshot->pid, 77);
  EXPECT_EQ(snapshot->state, "soft");
  ASSERT_EQ(snapshot->guests.size(), 1u);
  const Guest& guest = snapshot->guests[0];
  EXPECT_EQ(guest.name, "wéb");
  EXPECT_EQ(guest.memory, 4096u);
  EXPECT_EQ(guest.home_node, 1);
  EXPECT_TRUE(guest.stopped);
  EXPECT_EQ(guest.id, 21u);
  EXPECT_EQ(guest.swap_in_latency.sum_ns, 9u);
  EXPECT_EQ(guest.swap_in_latency.p99_ns, 4u);
  EXPECT_EQ(guest.swapped, 0u);  // not told
  EXPECT_EQ(snapshot->homes.at(0).id, 3);
  EXPECT_EQ(snapshot->homes.at(0).load, 0.5);
  EXPECT_EQ(snapshot->pools.at(0).limit, 6u);
}

TEST(SnapshotTest, WrongTypesCountAsNotTold) {
  const auto snapshot = parse_snapshot(json::parse(
      R"({"memory": 1, "consumed": -5, "free": "much", "state": 4, "homes": {}, "pid": 1.5,
          "guests": [{"name": 5, "resident": -1, "swapped": 1e30, "stopped": "yes", "fill_latency": 3}]})"));
  ASSERT_TRUE(snapshot);
  EXPECT_EQ(snapshot->consumed, 0u);
  EXPECT_EQ(snapshot->free, 0u);
  EXPECT_EQ(snapshot->state, "");
  EXPECT_EQ(snapshot->pid, 0);
  EXPECT_EQ(snapshot->guests.at(0).name, "");
  EXPECT_EQ(snapshot->guests.at(0).resident, 0u);
  EXPECT_EQ(snapshot->guests.at(0).swapped, 0u);
  EXPECT_FALSE(snapshot->guests.at(0).stopped);
}

TEST(SnapshotTest, WhatIsNotAHostIsGarbage) {
  for (const char* text : {"{}", "[]", "3", "null", R"({"guests": []})", R"({"memory": 5, "guests": {}})",
                           R"({"memory": "5", "guests": []})"}) {
    const auto snapshot = parse_snapshot(json::parse(text));
    ASSERT_FALSE(snapshot) << text;
    EXPECT_EQ(snapshot.error().kind, FailureKind::garbage);
  }
  for (const char* text : {"", "{", "<html>", "{\"a\": }"}) EXPECT_FALSE(parse_json(text)) << text;
  EXPECT_FALSE(parse_json(std::string(1 << 20, '[')));
}

TEST(SnapshotTest, NamesThatAreNoUtf8DoNotSpoilTheRest) {
  const auto document = parse_json("{\"memory\": 5, \"guests\": [{\"name\": \"a\xff\"}]}");
  ASSERT_TRUE(document);
  EXPECT_EQ(parse_snapshot(*document)->guests.at(0).name, "a\uFFFD");
}

TEST(SnapshotTest, EventsAreRead) {
  const auto page = parse_events(json::parse(
      R"({"next": 9, "lost": 2, "events": [{"sequence": 8, "time_ns": 7, "kind": "reclaimed", "guest": "web",
          "bytes": 4096, "mechanism": "swap", "reason": "because"}]})"));
  ASSERT_TRUE(page);
  EXPECT_EQ(page->next, 9u);
  EXPECT_EQ(page->lost, 2u);
  ASSERT_EQ(page->events.size(), 1u);
  EXPECT_EQ(page->events[0].kind, "reclaimed");
  EXPECT_EQ(page->events[0].reason, "because");
  EXPECT_FALSE(parse_events(json::parse(R"({"next": 9})")));
}

// Of what older hosts do not tell nothing is made up.
TEST(SnapshotTest, AnOlderHostWithholdsNothing) {
  const auto snapshot = parse_snapshot(json::parse(R"({"memory": 9, "consumed": 4, "free": 5, "guests": [{}]})"));
  ASSERT_TRUE(snapshot);
  EXPECT_EQ(snapshot->withheld, 0u);
  EXPECT_EQ(snapshot->guests[0].id, 0u);
}

TEST(SnapshotTest, WhatIsWithheldEndsWhereTheConsumedBegins) {
  Snapshot now;
  now.memory = 100;
  now.consumed = 70;
  now.withheld = 20;
  EXPECT_EQ(now.withheld_unused(), 20u);
  now.withheld = 60;  // more is consumed than the group has now
  EXPECT_EQ(now.withheld_unused(), 30u);
  now.consumed = 130;
  EXPECT_EQ(now.withheld_unused(), 0u);
}

Snapshot moment(std::uint64_t time_ns, std::vector<Guest> guests) {
  Snapshot snapshot;
  snapshot.time_ns = time_ns;
  snapshot.guests = std::move(guests);
  return snapshot;
}

Guest counting(const char* name, std::uint64_t swapped_in, std::uint64_t faults, std::uint64_t id = 0) {
  Guest guest;
  guest.name = name;
  guest.id = id;
  guest.swapped_in = swapped_in;
  guest.faults = faults;
  return guest;
}

TEST(RatesTest, RatesAreDifferencesOverTheTimeBetween) {
  const auto rates = rates_between(moment(1'000'000'000, {counting("a", 100, 10), counting("b", 5, 5)}),
                                   moment(3'000'000'000, {counting("a", 500, 11), counting("c", 7, 7)}));
  ASSERT_EQ(rates.size(), 2u);
  EXPECT_DOUBLE_EQ(rates.at("a").swapped_in, 200);
  EXPECT_DOUBLE_EQ(rates.at("a").faults, 0.5);
  EXPECT_DOUBLE_EQ(rates.at("c").faults, 3.5);  // created since
}

TEST(RatesTest, AGuestThatIsAnotherHasCountedAllSince) {
  struct Case {
    const char* name;
    Guest before, after;
    double swapped_in;
  };
  for (const Case& c : {Case{"the same", counting("a", 100, 10, 1), counting("a", 300, 11, 1), 200},
                        Case{"with less", counting("a", 100, 10, 1), counting("a", 99, 11, 2), 99},
                        Case{"with more", counting("a", 100, 10, 1), counting("a", 300, 11, 2), 300},
                        Case{"no ids, one fell", counting("a", 100, 10), counting("a", 300, 9), 300},
                        Case{"no ids, none fell", counting("a", 100, 10), counting("a", 300, 10), 200}}) {
    const auto rates = rates_between(moment(1'000'000'000, {c.before}), moment(2'000'000'000, {c.after}));
    EXPECT_DOUBLE_EQ(rates.at("a").swapped_in, c.swapped_in) << c.name;
  }
}

TEST(RatesTest, MeansAreOfWhatThereWasBetween) {
  Guest before = counting("a", 0, 0, 1), after = before;
  before.fault_latency = {10, 1'000'000, 1, 1, 1};
  after.fault_latency = {14, 1'200'000, 1, 1, 1};
  before.swap_in_latency = after.swap_in_latency = {3, 500, 1, 1, 1};
  const auto rates = rates_between(moment(1'000'000'000, {before}), moment(2'000'000'000, {after}));
  EXPECT_EQ(rates.at("a").fault_mean_ns, 50'000u);
  EXPECT_EQ(rates.at("a").swap_in_mean_ns, std::nullopt);
  after.id = 2;  // another: all of its are
  EXPECT_EQ(rates_between(moment(1, {before}), moment(2, {after})).at("a").fault_mean_ns, 1'200'000u / 14);
  before.fault_latency.sum_ns = after.fault_latency.sum_ns = 0;  // an older host
  EXPECT_EQ(rates_between(moment(1, {before}), moment(2, {after})).at("a").fault_mean_ns, std::nullopt);
}

TEST(RatesTest, TimeThatDoesNotPassGivesNone) {
  const auto first = moment(1'000'000'000, {counting("a", 100, 10)});
  EXPECT_TRUE(rates_between(first, moment(1'000'000'000, {counting("a", 200, 10)})).empty());
  EXPECT_TRUE(rates_between(first, moment(500'000'000, {counting("a", 200, 10)})).empty());
}

const Column& column(const std::string& title) {
  for (const Column& one : columns())
    if (title == one.title) return one;
  ADD_FAILURE() << title;
  return columns()[0];
}

TEST(ColumnsTest, TheyShowWhatEsxtopShows) {
  Guest guest;
  guest.memory = 4 << 20;
  guest.granted = 2 << 20;
  guest.local = 3;
  guest.remote = 1;
  guest.home_node = 2;
  const Row row{&guest, std::nullopt};
  EXPECT_EQ(cell_text(column("MEMSZ"), row), "4.00M");
  EXPECT_EQ(cell_text(column("GRANT"), row), "2.00M");
  EXPECT_EQ(cell_text(column("N%L"), row), "75");
  EXPECT_EQ(cell_text(column("NHN"), row), "2");
  EXPECT_EQ(cell_text(column("MCTL?"), row), "N");
  EXPECT_EQ(cell_text(column("SWR/s"), row), "-");  // no second sample yet
  GuestRates rates;
  rates.swapped_in = 2048;
  EXPECT_EQ(cell_text(column("SWR/s"), Row{&guest, rates}), "2.00K");
  guest.balloon_max = 1;
  EXPECT_EQ(cell_text(column("MCTL?"), row), "Y");
  guest.balloon_distrusted = true;
  EXPECT_EQ(cell_text(column("MCTL?"), row), "!");
  guest.local = guest.remote = 0;
  guest.home_node = -1;
  EXPECT_EQ(cell_text(column("N%L"), row), "-");
  EXPECT_EQ(cell_text(column("NHN"), row), "-");
}

TEST(ColumnsTest, KeysAreUniqueAndTitlesFit) {
  std::string keys = "N";
  for (const Column& one : columns()) {
    EXPECT_LE(std::string(one.title).size(), one.width) << one.title;
    if (one.key == ' ') continue;
    EXPECT_EQ(keys.find(one.key), std::string::npos) << one.title;
    keys += one.key;
  }
}

}  // namespace
}  // namespace vmmctl
