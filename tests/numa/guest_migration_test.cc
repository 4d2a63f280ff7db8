// The managed rate at which a guest's memory follows it, and the census of where its pages are.
#include "migrate/guest_migration.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "migrate/node_census.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"
#include "support/numa.h"

namespace vmm::test {
namespace {

using migrate::GuestMigration;
using std::chrono::milliseconds;

constexpr std::uint64_t kPages = 1536;
constexpr auto kNever = base::Nanos::max();

class MigrationRate : public SeveralNodesEachWay {
 protected:
  void SetUp() override {
    SeveralNodesEachWay::SetUp();
    if (IsSkipped()) return;
    const auto homes = home_nodes();
    if (homes.front() != 0) GTEST_SKIP() << "node 0 has no processors";
    other_ = homes.back();
    rig_.emplace(GetParam());
    RigGuestOptions o;
    o.pages = kPages;
    o.large_pages = false;
    guest_ = &rig_->add(o);
    guest_->fill();
  }
  std::uint64_t pages_on(int node) {
    return pages_on_node(guest_->at(0), kPages, node);
  }
  std::optional<NodeRig> rig_;
  RigGuest* guest_ = nullptr;
  int other_ = -1;
};
VMM_EACH_WAY(MigrationRate);

TEST_P(MigrationRate, IsKeptOverTime) {
  GuestMigration migration(guest_->memory());
  base::Nanos now(1);
  EXPECT_EQ(migration.step(now), kNever) << "nothing was asked for";
  migration.begin(other_);
  EXPECT_TRUE(migration.under_way());
  EXPECT_EQ(migration.step(now), kNever) << "the rate is 0";
  migration.set_rate(1'000 * kPageSize);
  for (int i = 0; i < 1'000; ++i) {
    now += milliseconds(1);
    migration.step(now);
    const auto permitted = static_cast<std::uint64_t>(i + 1);  // pages
    ASSERT_LE(migration.moved(), permitted);
    ASSERT_GE(migration.moved() + 60, permitted);
  }
  EXPECT_EQ(pages_on(other_), migration.moved());
  // What was not used is not saved up.
  const auto before = migration.moved();
  now += std::chrono::seconds(60);
  migration.step(now);
  for (int i = 0; i < 10; ++i) migration.step(now);
  EXPECT_LE(migration.moved(), before + 260) << "but for a quarter of a second";
  // It tells when to come again: no sooner is there anything to do.
  const auto wait = migration.step(now);
  ASSERT_GT(wait.count(), 0);
  const auto moved = migration.moved();
  migration.step(now + wait / 2);
  EXPECT_EQ(migration.moved(), moved);
  migration.step(now + wait);
  EXPECT_GT(migration.moved(), moved);
  EXPECT_EQ(guest_->wrong(), "");
}

// A huge page moves whole: it waits until all of it is permitted.
TEST_P(MigrationRate, IsKeptForHugePagesToo) {
  RigGuestOptions o;
  o.pages = kPages;
  o.large_pages = true;
  o.manage = false;
  auto& guest = rig_->add(o);
  guest.fill();
  GuestMigration migration(guest.memory());
  migration.set_rate(100 * kPageSize);
  migration.begin(other_);
  std::uint64_t most = 0;
  for (int i = 0; i < 200; ++i) {
    const base::Nanos now(1 + static_cast<base::Nanos::rep>(i) * 100'000'000);
    const auto before = migration.moved();
    while (migration.step(now).count() == 0) ASSERT_TRUE(migration.under_way());
    most = std::max(most, migration.moved() - before);
    ASSERT_LE(migration.moved(), static_cast<std::uint64_t>(i) * 10 + 1);
  }
  EXPECT_GE(migration.moved(), 1'000u);
  EXPECT_EQ(pages_on_node(guest.at(0), kPages, other_), migration.moved());
  EXPECT_EQ(guest.wrong(), "");
  if (smaps_bytes(guest.at(0), kPages * kPageSize, "AnonHugePages") == kPages * kPageSize) {
    EXPECT_EQ(most, 512u) << "a huge page at once";
  }
}

TEST_P(MigrationRate, AnotherHomeBeginsANewPass) {
  GuestMigration migration(guest_->memory());
  migration.set_rate(std::uint64_t{1} << 40);
  base::Nanos now(1);
  const auto pass = [&](int node) {
    migration.begin(node);
    for (int i = 0; i < 1000 && migration.under_way(); ++i) migration.step(now += milliseconds(1));
    EXPECT_FALSE(migration.under_way());
  };
  pass(other_);
  EXPECT_EQ(pages_on(other_), kPages);
  migration.begin(0);
  while (migration.moved() == kPages) migration.step(now += milliseconds(1));
  const auto back = migration.moved() - kPages;
  EXPECT_GT(back, 0u);
  EXPECT_LT(back, kPages);
  pass(other_);
  EXPECT_EQ(pages_on(other_), kPages);
  EXPECT_EQ(migration.moved(), kPages + 2 * back);
  ASSERT_TRUE(guest_->pins().pin(0, 10, kPages));
  pass(0);
  EXPECT_EQ(migration.pass().pinned, 10u);
  guest_->pins().unpin(0, 10);
  pass(0);
  EXPECT_EQ(migration.pass().pinned, 0u) << "of the last pass";
  EXPECT_EQ(pages_on(0), kPages);
  EXPECT_EQ(guest_->wrong(), "");
}

TEST_P(MigrationRate, TheCensusSaysWherePagesAre) {
  base::Random random(1);
  const std::vector<int> nodes = {other_, 0};
  auto census = migrate::take_census(guest_->memory(), nodes, 512, random);
  EXPECT_EQ(census.known, 512u);
  EXPECT_EQ(census.part(0), 0);
  EXPECT_EQ(census.part(1), 1);
  GuestMigration migration(guest_->memory());
  migration.set_rate(std::uint64_t{1} << 40);
  migration.begin(other_);
  base::Nanos now(1);
  while (migration.moved() < kPages / 3) migration.step(now += milliseconds(1));
  census = migrate::take_census(guest_->memory(), nodes, 512, random);
  // Four standard errors of a sample of 512.
  EXPECT_NEAR(census.part(0), static_cast<double>(pages_on(other_)) / kPages, 0.09);
  EXPECT_NEAR(census.part(0) + census.part(1), 1, 1e-9);
}

}  // namespace
}  // namespace vmm::test
