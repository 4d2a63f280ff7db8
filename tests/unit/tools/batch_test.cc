#include "batch.h"

#include <algorithm>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmmctl {
namespace {

using testing::HasSubstr;

// The cells of each line, as a reader of CSV takes them apart.
std::vector<std::vector<std::string>> table(const std::string& text) {
  std::vector<std::vector<std::string>> lines(1);
  std::string cell;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"' && quoted && i + 1 < text.size() && text[i + 1] == '"') {
      cell += '"';
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == ',' || c == '\n')) {
      lines.back().push_back(std::exchange(cell, {}));
      if (c == '\n' && i + 1 < text.size()) lines.emplace_back();
    } else {
      cell += c;
    }
  }
  return lines;
}

Snapshot moment(std::uint64_t seconds, std::uint64_t swapped_in) {
  Snapshot now;
  now.time_ns = seconds * 1'000'000'000;
  now.wall_time_ms = 1'700'000'000'123;
  now.memory = 64 << 20;
  now.state = "soft";
  Guest guest;
  guest.name = "say \"hi\",\n";
  guest.memory = 128 << 20;
  guest.swapped_in = swapped_in;
  now.guests = {guest};
  now.homes = {Node{}};
  return now;
}

TEST(BatchTest, EveryLineHasTheColumnsOfTheHeading) {
  Batch batch("machine");
  std::string text = batch.lines(moment(1, 0));
  text += batch.lines(moment(3, 8 << 20));
  Snapshot changed = moment(4, 8 << 20);
  changed.guests[0].name = "another";  // the first is gone, and this one came too late
  text += batch.lines(changed);
  const auto lines = table(text);
  ASSERT_EQ(lines.size(), 4u);
  for (const auto& line : lines) EXPECT_EQ(line.size(), lines[0].size());
  EXPECT_EQ(lines[0][0], "(PDH-CSV 4.0) (UTC)(0)");
  EXPECT_EQ(lines[1][0], "11/14/2023 22:13:20.123");
  const auto value = [&](std::size_t line, const std::string& name) {
    const auto at = std::find(lines[0].begin(), lines[0].end(), name);
    EXPECT_NE(at, lines[0].end()) << name;
    return at == lines[0].end() ? "" : lines[line][static_cast<std::size_t>(at - lines[0].begin())];
  };
  const std::string guest = "\\\\machine\\Group Memory(say \"hi\",%0A)\\";
  EXPECT_EQ(value(1, "\\\\machine\\Memory\\Machine MBytes"), "64.00");
  EXPECT_EQ(value(1, "\\\\machine\\Memory\\Memory Overcommit"), "2.00");
  EXPECT_EQ(value(1, "\\\\machine\\Memory\\State"), "soft");
  EXPECT_EQ(value(1, guest + "Memory Size MBytes"), "128.00");
  EXPECT_EQ(value(1, guest + "Swap Read MBytes/sec"), "");
  EXPECT_EQ(value(2, guest + "Swap Read MBytes/sec"), "4.00");
  EXPECT_EQ(value(3, guest + "Memory Size MBytes"), "");
}

// The value under the heading that ends in `name`, of the last line.
std::string last_value(const std::string& text, const std::string& name) {
  const auto lines = table(text);
  for (std::size_t i = 0; i < lines[0].size(); ++i)
    if (lines[0][i].ends_with(name)) return lines.back()[i];
  ADD_FAILURE() << name;
  return "";
}

TEST(BatchTest, RatesAreOfOneHostAndOneGuest) {
  const auto with_id = [](Snapshot now, std::uint64_t id) {
    now.guests[0].id = id;
    return now;
  };
  const std::string rate = "Swap Read MBytes/sec";
  Batch batch("machine");
  std::string text = batch.lines(with_id(moment(1, 8 << 20), 1));
  text += batch.lines(with_id(moment(3, 16 << 20), 1));
  EXPECT_EQ(last_value(text, rate), "4.00");
  // Created anew, and has already read more than the one before.
  text += batch.lines(with_id(moment(5, 20 << 20), 2));
  EXPECT_EQ(last_value(text, rate), "10.00");
  // Another host of the same process, whose guests are numbered alike.
  text += batch.lines(with_id(moment(7, 40 << 20), 2), true);
  EXPECT_EQ(last_value(text, rate), "");
  text += batch.lines(with_id(moment(9, 42 << 20), 2));
  EXPECT_EQ(last_value(text, rate), "1.00");
}

// No name reaches a terminal as more than text, nor looks like another counter.
TEST(BatchTest, NamesAreNoPartOfThePath) {
  Snapshot now = moment(1, 0);
  now.state = "\xc2\x9b" "2Jsoft";
  now.guests[0].name = "\xc2\x9b" "2J";
  now.guests.push_back(now.guests[0]);
  now.guests[1].name = "a)\\Swapped MBytes";
  const std::string text = Batch("ma\\chine").lines(now);
  EXPECT_EQ(text.find('\xc2'), std::string::npos);
  const auto heading = table(text)[0];
  const auto has = [&](const std::string& name) {
    return std::find(heading.begin(), heading.end(), name) != heading.end();
  };
  EXPECT_TRUE(has("\\\\ma%5Cchine\\Group Memory(%C2%9B2J)\\Swapped MBytes"));
  EXPECT_TRUE(has("\\\\ma%5Cchine\\Group Memory(a%29%5CSwapped MBytes)\\Swapped MBytes"));
}

TEST(BatchTest, WhatIsWithheldIsACounter) {
  Snapshot now = moment(1, 0);
  now.withheld = 3 << 20;
  EXPECT_EQ(last_value(Batch("machine").lines(now), "Withheld MBytes"), "3.00");
}

}  // namespace
}  // namespace vmmctl
