#include "region/move_run.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <thread>
#include <vector>

#include <linux/userfaultfd.h>

#include <gtest/gtest.h>

#include "os/kernel_abi.h"
#include "os/mapping.h"
#include "support/kernel_view.h"
#include "support/way.h"
#include "vmm/units.h"

namespace vmm {
namespace {

using region::move_run;
using test::resident_pages;

constexpr std::uint64_t kPages = 64;

// Two registered ranges; the first holds pages of 1, 2, 3 ...
class MoveRunTest : public testing::Test {
 protected:
  struct Range {
    os::Mapping memory;
    os::Userfaultfd uffd;
    std::byte* at(std::uint64_t page) const { return memory.data() + page * kPageSize; }
  };
  static Range make_range() {
    Range range;
    auto memory = os::Mapping::guarded(kHugePageSize);
    auto uffd = os::Userfaultfd::open({.move = true});
    EXPECT_TRUE(memory && uffd);
    range.memory = std::move(*memory);
    range.uffd = std::move(*uffd);
    os::advise_huge_pages(range.memory.data(), range.memory.size(), false);
    EXPECT_EQ(range.uffd.register_range(range.memory.data(), range.memory.size(), true), 0);
    return range;
  }
  void SetUp() override {
    if (const auto why = test::unable(test::kMove); !why.empty()) GTEST_SKIP() << why;
    home_ = make_range();
    away_ = make_range();
    auto pagemap = os::Pagemap::open(false);
    ASSERT_TRUE(pagemap);
    pagemap_ = std::move(*pagemap);
    std::vector<std::byte> bytes(kPages * kPageSize);
    for (std::uint64_t page = 0; page < kPages; ++page)
      std::memset(&bytes[page * kPageSize], static_cast<int>(page + 1), kPageSize);
    ASSERT_EQ(home_.uffd.copy(home_.at(0), bytes.data(), bytes.size(), false).error, 0);
  }
  os::Progress go(const Range& to, const Range& from, std::uint64_t first, std::uint64_t pages) {
    return move_run(to.uffd, pagemap_, to.at(first), from.at(first), pages * kPageSize);
  }
  static bool right(const Range& range, std::uint64_t page) {
    return *range.at(page) == static_cast<std::byte>(page + 1);
  }

  Range home_, away_;
  os::Pagemap pagemap_;
};

TEST_F(MoveRunTest, MovesAll) {
  const auto done = go(away_, home_, 0, kPages);
  EXPECT_EQ(done.bytes, kPages * kPageSize);
  EXPECT_EQ(done.error, 0);
  EXPECT_EQ(resident_pages(home_.at(0), kPages), 0u);
  for (std::uint64_t page = 0; page < kPages; ++page) EXPECT_TRUE(right(away_, page)) << page;
}

// As after a call that moved pages and then said EEXIST with nothing done.
TEST_F(MoveRunTest, PagesThatMovedUnsaidAreCounted) {
  for (const auto& [first, moved, pages] : {std::array<std::uint64_t, 3>{0, 1, 16}, {16, 5, 16}, {32, 16, 16}}) {
    ASSERT_EQ(away_.uffd.move(away_.at(first), home_.at(first), moved * kPageSize).error, 0);
    const auto done = go(away_, home_, first, pages);
    EXPECT_EQ(done.bytes, pages * kPageSize) << first;
    EXPECT_EQ(done.error, 0) << first;
  }
  EXPECT_EQ(resident_pages(home_.at(0), 48), 0u);
  for (std::uint64_t page = 0; page < 48; ++page) EXPECT_TRUE(right(away_, page)) << page;
}

TEST_F(MoveRunTest, APageInTheWayIsAnErrorStill) {
  ASSERT_EQ(away_.uffd.zero(away_.at(3), kPageSize).error, 0);
  const auto done = go(away_, home_, 0, 8);
  EXPECT_EQ(done.bytes, 3 * kPageSize);
  EXPECT_EQ(done.error, EEXIST);
  EXPECT_TRUE(right(home_, 3));
}

TEST_F(MoveRunTest, AHoleIsAnErrorStill) {
  ASSERT_EQ(os::drop_pages(home_.at(3), kPageSize), 0);
  const auto done = go(away_, home_, 0, 8);
  EXPECT_EQ(done.bytes, 3 * kPageSize);
  EXPECT_EQ(done.error, ENOENT);
}

TEST_F(MoveRunTest, APageInTheWayHomeIsAnErrorStill) {
  ASSERT_EQ(go(away_, home_, 0, 8).error, 0);
  ASSERT_EQ(home_.uffd.zero(home_.at(0), kPageSize).error, 0);
  const auto done = go(home_, away_, 0, 8);
  EXPECT_EQ(done.bytes, 0u);
  EXPECT_EQ(done.error, EEXIST);
  EXPECT_TRUE(right(away_, 0));
}

TEST_F(MoveRunTest, WhoWaitsForAPageThatMovedUnsaidIsWoken) {
  ASSERT_EQ(go(away_, home_, 0, 1).error, 0);
  std::atomic<int> seen{0};
  std::thread reader([&] { seen = std::to_integer<int>(*static_cast<volatile std::byte*>(home_.at(0))); });
  os::FaultEvent event{};
  while (home_.uffd.read(&event, 1) != 1) std::this_thread::yield();
  uffdio_move quiet{};
  quiet.dst = reinterpret_cast<std::uintptr_t>(home_.at(0));
  quiet.src = reinterpret_cast<std::uintptr_t>(away_.at(0));
  quiet.len = kPageSize;
  quiet.mode = UFFDIO_MOVE_MODE_DONTWAKE;
  ASSERT_EQ(::ioctl(home_.uffd.fd(), UFFDIO_MOVE, &quiet), 0);
  const auto done = go(home_, away_, 0, 1);
  EXPECT_EQ(done.bytes, kPageSize);
  EXPECT_EQ(done.error, 0);
  reader.join();  // hangs if nobody woke it
  EXPECT_EQ(seen, 1);
}

// The kernel's own way there: the processor sets the accessed bit of the first page while it is being moved.
TEST_F(MoveRunTest, CountsAreRightWhilePageTablesChange) {
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> touches{0};
  std::thread toucher([&] {
    while (!stop) {
      ::madvise(home_.at(0), kPageSize, MADV_COLD);
      static_cast<void>(*static_cast<volatile std::byte*>(home_.at(0)));
      ++touches;
    }
  });
  for (int round = 0; round < 400 && !HasFailure(); ++round) {
    // Until the toucher runs again, so that it meets the move; not for ever: it may be waiting.
    const auto before = touches.load();
    for (int i = 0; i < 200 && touches.load() < before + 2; ++i) std::this_thread::yield();
    const auto out = go(away_, home_, 0, kPages);
    EXPECT_EQ(out.bytes, kPages * kPageSize) << "errno " << out.error << ", round " << round;
    EXPECT_EQ(resident_pages(away_.at(0), kPages), kPages) << round;
    const auto back = go(home_, away_, 0, kPages);
    EXPECT_EQ(back.bytes, kPages * kPageSize) << "errno " << back.error << ", round " << round;
    home_.uffd.wake(home_.at(0), kPageSize);  // its event was not read
  }
  stop = true;
  if (HasFailure()) home_.uffd.unregister_range(home_.memory.data(), home_.memory.size());  // else it waits for ever
  toucher.join();
  for (std::uint64_t page = 0; page < kPages; ++page) EXPECT_TRUE(right(home_, page)) << page;
}

}  // namespace
}  // namespace vmm
