// Pages of a guest are moved to another node while it uses them; where they are then is asked of the kernel.
#include "migrate/page_migrator.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support/call_hook.h"
#include "support/eventually.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"
#include "support/numa.h"

namespace vmm::test {
namespace {

using migrate::MigrationSlice;
using migrate::PageMigrator;

constexpr std::uint64_t kPages = 1536;  // three huge pages

class Migration : public SeveralNodesEachWay {
 protected:
  void SetUp() override {
    SeveralNodesEachWay::SetUp();
    if (IsSkipped()) return;
    const auto homes = home_nodes();
    if (homes.front() != 0) GTEST_SKIP() << "node 0 has no processors";
    other_ = homes.back();
  }
  static RigGuestOptions options(bool large_pages = false) {
    RigGuestOptions o;
    o.pages = kPages;
    o.large_pages = large_pages;
    return o;
  }
  static std::uint64_t pages_on(RigGuest& guest, int node) {
    return pages_on_node(guest.at(0), guest->pages(), node);
  }
  // A whole pass.
  static MigrationSlice pass(RigGuest& guest, int node, std::uint64_t most = 512) {
    PageMigrator migrator(guest.memory());
    migrator.begin(node);
    MigrationSlice sum;
    while (migrator.under_way()) {
      const auto s = migrator.step(most);
      sum.looked += s.looked;
      sum.moved += s.moved;
      sum.pinned += s.pinned;
      sum.no_memory += s.no_memory;
      sum.refused += s.refused;
      if (s.no_memory > 0) break;
    }
    EXPECT_EQ(sum.looked, guest->pages());
    return sum;
  }
  int other_ = -1;
};
VMM_EACH_WAY(Migration);

TEST_P(Migration, MovesEveryPageThatIsElsewhere) {
  for (const bool large_pages : {false, true})
    for (const bool managed : {false, true}) {
      SCOPED_TRACE(testing::Message() << "large pages " << large_pages << ", managed " << managed);
      NodeRig rig(GetParam());
      auto o = options(large_pages);
      o.manage = managed;
      auto& guest = rig.add(o);
      guest.fill();
      ASSERT_EQ(pages_on(guest, 0), kPages);
      const auto moved = pass(guest, other_);
      EXPECT_EQ(moved.moved, kPages);
      EXPECT_EQ(moved.pinned + moved.no_memory + moved.refused, 0u);
      EXPECT_EQ(pages_on(guest, other_), kPages);
      EXPECT_EQ(guest.wrong(), "");
      EXPECT_EQ(pass(guest, other_).moved, 0u) << "they are there already";
    }
}

TEST_P(Migration, ASliceMovesNoMoreThanItMay) {
  NodeRig rig(GetParam());
  auto& guest = rig.add(options());
  guest.fill();
  PageMigrator migrator(guest.memory());
  migrator.begin(other_);
  EXPECT_EQ(migrator.step(0).looked, 0u);
  std::uint64_t moved = 0;
  for (int slices = 0; slices < 20; ++slices) {
    const auto s = migrator.step(7);
    EXPECT_EQ(s.moved, 7u);
    moved += s.moved;
    ASSERT_EQ(pages_on(guest, other_), moved);
  }
  // Homed back: from the beginning, to where it came from.
  migrator.begin(0);
  while (migrator.under_way()) moved -= migrator.step(100).moved;
  EXPECT_EQ(moved, 0u);
  EXPECT_EQ(pages_on(guest, 0), kPages);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(Migration, WhatIsNotInPlaceIsLeftAlone) {
  NodeRig rig(GetParam());
  auto& guest = rig.add(options());
  guest.fill(0, 1024, 1);  // the last huge page's worth is untouched
  rig.evict(guest);
  EXPECT_EQ(guest.wrong(0, 300, 1), "");
  rig.settle(guest);
  const auto here = pages_on(guest, 0);
  ASSERT_GE(here, 300u);
  const auto moved = pass(guest, other_);
  EXPECT_EQ(moved.moved, here);
  EXPECT_EQ(pages_on(guest, other_), here);
  EXPECT_EQ(guest.wrong(0, 1024, 1), "");
  for (std::uint64_t page = 1024; page < kPages; ++page) EXPECT_TRUE(is_zero(guest.at(page))) << page;
}

TEST_P(Migration, PinnedPagesStay) {
  NodeRig rig(GetParam());
  auto& guest = rig.add(options());
  guest.fill();
  ASSERT_TRUE(guest.pins().pin(100, 20, kPages));
  const auto moved = pass(guest, other_, 50);
  EXPECT_EQ(moved.pinned, 20u);
  EXPECT_EQ(moved.moved, kPages - 20);
  for (const int node : nodes_of_pages(guest.at(100), 20)) EXPECT_EQ(node, 0);
  guest.pins().unpin(100, 20);
  EXPECT_EQ(pass(guest, other_).moved, 20u) << "another pass";
  EXPECT_EQ(guest.wrong(), "");
}

// A reference that no Pin tells of: a page in a pipe.
TEST_P(Migration, PagesThatSomebodyElseHoldsStay) {
  NodeRig rig(GetParam());
  auto& guest = rig.add(options());
  guest.fill();
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const iovec held{guest.at(700), 4 * kPageSize};
  ASSERT_EQ(::vmsplice(pipe[1], &held, 1, 0), static_cast<ssize_t>(held.iov_len));
  const auto moved = pass(guest, other_);
  EXPECT_EQ(moved.pinned, 4u);
  EXPECT_EQ(moved.moved, kPages - 4);
  EXPECT_EQ(pages_on(guest, other_), kPages - 4);
  ::close(pipe[0]);
  ::close(pipe[1]);
  EXPECT_EQ(pass(guest, other_).moved, 4u);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(Migration, AKernelThatRefusesLosesNothing) {
  NodeRig rig(GetParam());
  auto& guest = rig.add(options());
  guest.fill();
  {
    CallHook hook;
    hook.fail(os::Call::move_pages, EPERM);
    const auto refused = pass(guest, other_);
    EXPECT_EQ(refused.moved, 0u);
    EXPECT_EQ(refused.refused, kPages);
  }
  EXPECT_EQ(pages_on(guest, 0), kPages);
  EXPECT_EQ(pass(guest, other_).moved, kPages);
  EXPECT_EQ(guest.wrong(), "");
}

// Hazard 32: no write is lost while its page moves, whatever else is done with it.
TEST_P(Migration, Hazard32_WritersAgainstTheMigrator) {
  NodeRig rig(GetParam());
  auto& guest = rig.add(options());
  constexpr std::uint64_t kWriters = 2;
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> written{0};
  std::array<std::vector<std::uint64_t>, kWriters> added;
  std::vector<std::thread> writers;
  for (std::uint64_t w = 0; w < kWriters; ++w) {
    added[w].resize(kPages);
    writers.emplace_back([&, w] {
      for (std::uint64_t page = w; !over; page = (page + 13) % kPages) {
        auto* word = reinterpret_cast<std::uint64_t*>(guest.at(page)) + w;
        std::atomic_ref<std::uint64_t>(*word).fetch_add(1, std::memory_order_relaxed);
        ++added[w][page];
        written.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  EXPECT_TRUE(eventually([&] { return written > 100; }));
  std::uint64_t moved = 0;
  for (int round = 0; round < 12; ++round) {
    moved += pass(guest, round % 2 == 0 ? other_ : 0, 64).moved;
    guest.evictor().park(256, ~std::uint64_t{0}, rig.now());
    if (round % 3 == 0) rig.write(guest, false);
    rig.out().finish(false, rig.now());
  }
  over = true;
  for (auto& writer : writers) writer.join();
  EXPECT_GT(moved, 0u);
  for (std::uint64_t page = 0; page < kPages; ++page)
    for (std::uint64_t w = 0; w < kWriters; ++w)
      ASSERT_EQ(reinterpret_cast<std::uint64_t*>(guest.at(page))[w], added[w][page]) << page;
}

}  // namespace
}  // namespace vmm::test
