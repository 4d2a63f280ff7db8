// Admission with pools: what is reserved where, and what a refusal says.
#include "policy/admission.h"

#include <gtest/gtest.h>

namespace vmm::policy {
namespace {

AdmissionPool pool(std::size_t parent, std::uint64_t reservation, bool expandable = true, std::uint64_t limit = 0) {
  AdmissionPool p;
  p.parent = parent;
  p.reservation = reservation;
  p.expandable = expandable;
  p.limit = limit;
  return p;
}

TEST(Admission, TheHostGivesWhatItHas) {
  std::vector<AdmissionPool> before(1), after(1);
  before[0].reserved = 60;
  after[0].reserved = 100;
  EXPECT_FALSE(find_shortage(before, 100, after, 100));
  after[0].reserved = 110;
  const auto s = find_shortage(before, 100, after, 100);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->pool, 0u);
  EXPECT_EQ(s->missing, 10u);
  EXPECT_EQ(s->unreserved, 40u);
  EXPECT_FALSE(s->limit);
}

TEST(Admission, AFixedReservationIsAllThatAPoolHas) {
  std::vector<AdmissionPool> before = {pool(0, 0), pool(0, 50, false)};
  auto after = before;
  after[1].reserved = 50;
  EXPECT_FALSE(find_shortage(before, 100, after, 100));
  after[1].reserved = 51;
  const auto s = find_shortage(before, 100, after, 100);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->pool, 1u);
  EXPECT_EQ(s->missing, 1u);
  EXPECT_EQ(s->unreserved, 50u);
}

TEST(Admission, AnExpandableOneBorrowsFromItsParents) {
  std::vector<AdmissionPool> before = {pool(0, 0), pool(0, 50), pool(1, 10)};
  auto after = before;
  after[2].reserved = 100;  // 10 of its own, 40 of its parent's, 50 of the host's
  EXPECT_FALSE(find_shortage(before, 100, after, 100));
  EXPECT_EQ(reserved_within(after), (std::vector<std::uint64_t>{100, 100, 100}));
  after[2].reserved = 101;
  auto s = find_shortage(before, 100, after, 100);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->pool, 0u);
  EXPECT_EQ(s->missing, 1u);
  EXPECT_EQ(s->unreserved, 50u);
  // What a pool has reserved for itself is not there for others, whether its guests use it or not.
  after[2].reserved = 0;
  after[0].reserved = 51;
  s = find_shortage(before, 100, after, 100);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->missing, 1u);
  // A parent that does not borrow stops it.
  after[0].reserved = 0;
  after[1].expandable = false;
  after[2].reserved = 51;
  s = find_shortage(before, 100, after, 100);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->pool, 1u);
}

TEST(Admission, NothingIsReservedAboveALimit) {
  std::vector<AdmissionPool> before = {pool(0, 0)}, after = {pool(0, 0), pool(0, 30, true, 20)};
  auto s = find_shortage(before, 100, after, 100);
  ASSERT_TRUE(s);
  EXPECT_TRUE(s->limit);
  EXPECT_EQ(s->pool, 1u);
  EXPECT_EQ(s->missing, 10u);
  after[1].reservation = 0;
  after[1].reserved = 20;
  EXPECT_FALSE(find_shortage(before, 100, after, 100));
  after[1].reserved = 21;
  EXPECT_TRUE(find_shortage(before, 100, after, 100));
}

// Pins and seats can take what was reserved. Who changes something else, or gives some of it back, is not to blame.
TEST(Admission, AShortageThatWasThereBeforeRefusesNothing) {
  std::vector<AdmissionPool> before = {pool(0, 0), pool(0, 20, false), pool(0, 0, true, 10)};
  before[0].reserved = 110;
  before[1].reserved = 25;
  before[2].reserved = 12;
  auto after = before;
  EXPECT_FALSE(find_shortage(before, 100, after, 100));
  after[1].reserved = 23;
  after[2].reserved = 11;
  EXPECT_FALSE(find_shortage(before, 100, after, 100));
  EXPECT_FALSE(find_shortage(before, 100, after, 101));
  struct Worse {
    std::size_t pool;
    std::uint64_t missing;
    bool limit;
  };
  for (const auto& w : {Worse{0, 48, false}, Worse{1, 6, false}, Worse{2, 3, true}}) {
    after = before;
    ++after[w.pool].reserved;
    const auto s = find_shortage(before, 100, after, 100);
    ASSERT_TRUE(s);
    EXPECT_EQ(s->pool, w.pool);
    EXPECT_EQ(s->missing, w.missing);
    EXPECT_EQ(s->limit, w.limit);
  }
  // Of a host that gets smaller.
  EXPECT_TRUE(find_shortage(before, 100, before, 99));
}

}  // namespace
}  // namespace vmm::policy
