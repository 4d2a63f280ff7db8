#include "host/event_ring.h"

#include <string>

#include <gtest/gtest.h>

namespace vmm::host {
namespace {

Event named(std::uint64_t number) {
  Event event;
  event.guest = std::to_string(number);
  return event;
}

TEST(EventRing, TellsWhatCameSince) {
  EventRing ring;
  EXPECT_EQ(ring.since(0).next, 1U);
  for (std::uint64_t i = 1; i <= 5; ++i) ring.push(named(i));
  auto ledger = ring.since(0);
  ASSERT_EQ(ledger.records.size(), 5U);
  EXPECT_EQ(ledger.records[0].sequence, 1U);
  EXPECT_EQ(ledger.records[0].event.guest, "1");
  EXPECT_EQ(ledger.next, 6U);
  EXPECT_EQ(ledger.lost, 0U);
  ring.push(named(6));
  ledger = ring.since(ledger.next);
  ASSERT_EQ(ledger.records.size(), 1U);
  EXPECT_EQ(ledger.records[0].sequence, 6U);
  EXPECT_EQ(ledger.records[0].event.guest, "6");
  EXPECT_TRUE(ring.since(7).records.empty());
  EXPECT_TRUE(ring.since(1000).records.empty()) << "of another host";
  EXPECT_EQ(ring.since(1000).next, 7U);
}

TEST(EventRing, SaysHowManyAreNoLongerKept) {
  EventRing ring;
  const auto all = EventRing::kMost + 100;
  for (std::uint64_t i = 1; i <= all; ++i) ring.push(named(i));
  for (const std::uint64_t since : {std::uint64_t{0}, std::uint64_t{1}}) {
    const auto ledger = ring.since(since);
    EXPECT_EQ(ledger.lost, 100U);
    ASSERT_EQ(ledger.records.size(), EventRing::kMost);
    EXPECT_EQ(ledger.records.front().sequence, 101U);
    EXPECT_EQ(ledger.records.front().event.guest, "101");
    EXPECT_EQ(ledger.records.back().sequence, all);
    EXPECT_EQ(ledger.next, all + 1);
  }
  EXPECT_EQ(ring.since(51).lost, 50U);
  EXPECT_EQ(ring.since(101).lost, 0U);
  EXPECT_EQ(ring.since(all).records.size(), 1U);
}

}  // namespace
}  // namespace vmm::host
