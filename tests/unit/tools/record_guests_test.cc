#include "record_guests.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace vmmctl {
namespace {

Guest guest(std::uint64_t number, std::uint64_t resident) {
  Guest made;
  made.name = "g" + std::to_string(number);
  made.resident = resident;
  return made;
}

GuestGrowth faults(std::uint64_t count) { return {count, 0, 0, 0, 0}; }

std::uint64_t all_faults(const RecordedGuests& recorded) {
  std::uint64_t sum = recorded.others().growth.faults;
  for (const GuestSummary& one : recorded.held()) sum += one.growth.faults;
  return sum;
}

TEST(RecordedGuestsTest, PointsOfAGuestAreHalvedWithThoseOfTheHost) {
  for (const std::size_t first : {0U, 1U, 2U, 5U}) {
    for (const std::size_t count : {1U, 2U, 3U, 6U}) {
      RecordedGuests recorded;
      for (std::size_t point = first; point < first + count; ++point) {
        recorded.add(guest(1, std::uint64_t{1} << point), {}, point);
        recorded.end_moment();
      }
      recorded.halve_points();
      const GuestSummary& one = recorded.held()[0];
      EXPECT_EQ(one.first_point, first / 2);
      EXPECT_EQ(one.first_point + one.points.size(), (first + count - 1) / 2 + 1);
      EXPECT_EQ(recorded.points(), one.points.size());
      for (std::size_t point = first; point < first + count; ++point) {
        const GuestPoint& of = one.points[point / 2 - one.first_point];
        EXPECT_NE(static_cast<std::uint64_t>(of.gauges[GuestGauge::resident]) & (1U << point), 0u);
      }
      std::uint64_t samples = 0;
      for (const GuestPoint& of : one.points) samples += of.samples;
      EXPECT_EQ(samples, count);
    }
  }
}

TEST(RecordedGuestsTest, ThoseThatAreGoneAreSummedUpAndTheLargestStay) {
  RecordedGuests recorded;
  constexpr std::uint64_t kNames = 20'000;
  for (std::uint64_t i = 0; i < kNames; ++i) {
    recorded.add(guest(i, i == 17 ? std::uint64_t{1} << 30 : i % 1000), faults(3), i / 100);
    recorded.end_moment();
    ASSERT_LE(recorded.held().size(), 2 * (kMostListed + 1)) << "those that are listed, and the one that is there";
  }
  EXPECT_EQ(recorded.held().size() + recorded.others().guests, kNames);
  EXPECT_EQ(all_faults(recorded), 3 * kNames);
  EXPECT_EQ(recorded.held()[0].last.name, "g17");
  EXPECT_EQ(recorded.listed().size(), kMostListed);
  EXPECT_EQ(recorded.charted().size(), kMostCharted);
  EXPECT_EQ(recorded.charted()[0], 0u);
  // The order is that in which they came, and each is found again under its name.
  const auto last = recorded.held().back().last.name;
  const auto size = recorded.held().size();
  recorded.add(guest(kNames - 1, 5), faults(3), 200);
  EXPECT_EQ(recorded.held().size(), size);
  EXPECT_EQ(recorded.held().back().last.name, last);
  EXPECT_EQ(recorded.held().back().growth.faults, 6u);
}

TEST(RecordedGuestsTest, ThoseThatAreThereAreAllHeld) {
  RecordedGuests recorded;
  constexpr std::uint64_t kGuests = 3 * kMostListed;
  for (std::size_t moment = 0; moment < 3; ++moment) {
    for (std::uint64_t i = 0; i < kGuests; ++i) recorded.add(guest(i, i), faults(1), moment);
    recorded.end_moment();
  }
  EXPECT_EQ(recorded.held().size(), kGuests);
  EXPECT_EQ(recorded.others().guests, 0u);
  const auto listed = recorded.listed();
  ASSERT_EQ(listed.size(), kMostListed);
  EXPECT_EQ(listed.front(), kGuests - kMostListed);
  EXPECT_EQ(listed.back(), kGuests - 1);
}

TEST(RecordedGuestsTest, ALargeOneThatIsGoneStaysBesideManyThatAreThere) {
  RecordedGuests recorded;
  recorded.add(guest(0, std::uint64_t{1} << 30), {}, 0);
  recorded.end_moment();
  for (std::uint64_t moment = 1; moment < 10; ++moment) {
    for (std::uint64_t i = 1; i <= kMostListed; ++i) recorded.add(guest(i, 1), {}, moment);
    for (std::uint64_t i = 0; i < 1000; ++i) recorded.add(guest(kMostListed + 1000 * moment + i, 2), {}, moment);
    recorded.end_moment();
  }
  EXPECT_GT(recorded.others().guests, 0u);
  EXPECT_EQ(recorded.held()[recorded.listed().front()].last.name, "g0");
  EXPECT_EQ(recorded.charted().front(), recorded.listed().front());
}

TEST(RecordedGuestsTest, OneThatOutgrowsTheOthersHasPointsAgain) {
  RecordedGuests recorded;
  constexpr std::uint64_t kGuests = 1800;
  for (std::size_t point = 0; point < 600; ++point) {
    for (std::uint64_t i = 0; i < kGuests; ++i) {
      const bool grown = i == 0 && point >= 550;
      recorded.add(guest(i, grown ? 10 * kGuests : i), {}, point);
    }
    recorded.end_moment();
    ASSERT_LE(recorded.points(), kMostGuestPoints);
    if (point == 549) {
      ASSERT_TRUE(recorded.held()[0].points.empty());
    }
  }
  EXPECT_EQ(recorded.charted().front(), 0u);
  EXPECT_EQ(recorded.held()[0].first_point, 550u);
  EXPECT_EQ(recorded.held()[0].points.size(), 50u);
}

TEST(RecordedGuestsTest, PointsAreBoundedAndThoseOfTheLargestStay) {
  RecordedGuests recorded;
  constexpr std::uint64_t kGuests = 1800;
  for (std::size_t point = 0; point < 600; ++point) {
    for (std::uint64_t i = 0; i < kGuests; ++i) recorded.add(guest(i, i), {}, point);
    recorded.end_moment();
    ASSERT_LE(recorded.points(), kMostGuestPoints);
  }
  const auto charted = recorded.charted();
  ASSERT_EQ(charted.size(), kMostCharted);
  EXPECT_EQ(charted.front(), kGuests - kMostCharted);
  for (const std::size_t i : charted) EXPECT_EQ(recorded.held()[i].points.size(), 600u);
  EXPECT_TRUE(recorded.held()[0].points.empty());
  EXPECT_EQ(recorded.held()[0].samples, 600u);
}

}  // namespace
}  // namespace vmmctl
