#include "os/mapping.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <system_error>
#include <utility>

#include <gtest/gtest.h>

#include "os/drop_list.h"
#include "support/call_hook.h"
#include "support/guarded_access.h"
#include "support/kernel_view.h"
#include "support/lock_memory.h"
#include "support/pattern.h"

namespace vmm::os {
namespace {

using test::CatchSignals;
using test::try_read;
using test::try_write;

Mapping guarded(std::uint64_t bytes) {
  auto m = Mapping::guarded(bytes);
  EXPECT_TRUE(m) << m.error().message();
  return std::move(*m);
}

TEST(MappingTest, GuardedIsAlignedZeroAndBetweenGuards) {
  CatchSignals catcher;
  const auto m = guarded(3 * kHugePageSize + kPageSize);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(m.data()) % kHugePageSize, 0u);
  EXPECT_EQ(m.size(), 3 * kHugePageSize + kPageSize);
  EXPECT_EQ(try_write(m.data() + m.size() - 8, 1).signal, 0);
  EXPECT_TRUE(test::is_zero(m.data()));
  EXPECT_EQ(try_read(m.data() - 8).signal, SIGSEGV);
  EXPECT_EQ(try_read(m.data() + m.size()).signal, SIGSEGV);
  EXPECT_EQ(try_read(m.data() - kHugePageSize).signal, SIGSEGV);
  EXPECT_EQ(try_read(m.data() + m.size() + kHugePageSize - 8).signal, SIGSEGV);
}

TEST(MappingTest, EndsWithItsOwnerAndMovesWithIt) {
  CatchSignals catcher;
  std::byte* start = nullptr;
  {
    auto first = guarded(kPageSize);
    start = first.data();
    Mapping second(std::move(first));
    EXPECT_EQ(first.data(), nullptr);
    EXPECT_EQ(second.data(), start);
    Mapping third;
    third = std::move(second);
    EXPECT_EQ(try_write(start, 1).signal, 0);
  }
  EXPECT_EQ(try_read(start).signal, SIGSEGV);
}

TEST(MappingTest, TooMuchIsAnErrorThatNamesTheSize) {
  for (const std::uint64_t bytes : {std::uint64_t{1} << 60, ~std::uint64_t{0} - kPageSize + 1}) {
    const auto m = Mapping::guarded(bytes);
    ASSERT_FALSE(m);
    EXPECT_EQ(m.error().code, std::error_code(ENOMEM, std::generic_category()));
    EXPECT_NE(m.error().operation.find(std::to_string(bytes)), std::string::npos);
  }
}

TEST(MappingTest, DropGivesMemoryBackAndReadsZero) {
  const auto m = guarded(kHugePageSize);
  for (std::uint64_t page = 0; page < 512; ++page) test::fill_page(m.data() + page * kPageSize, 1, page, 1);
  EXPECT_EQ(test::resident_pages(m.data(), 512), 512u);
  EXPECT_EQ(drop_pages(m.data(), 100 * kPageSize), 0);
  EXPECT_EQ(test::resident_pages(m.data(), 512), 412u);
  EXPECT_TRUE(test::is_zero(m.data() + 99 * kPageSize));
  EXPECT_EQ(test::wrong_page(m.data() + 100 * kPageSize, 1, 100, 1), "");
}

// Hazard 24: MADV_DONTNEED refuses locked pages.
TEST(MappingTest, LockedPagesAreDroppedToo) {
  const auto m = guarded(kHugePageSize);
  if (test::lock_memory(m.data(), 8 * kPageSize) != 0) GTEST_SKIP() << "mlock is not allowed: RLIMIT_MEMLOCK";
  test::fill_page(m.data(), 1, 0, 1);
  EXPECT_EQ(drop_pages(m.data(), 8 * kPageSize), 0);
  EXPECT_TRUE(test::is_zero(m.data()));
}

TEST(MappingTest, InaccessibleAndBack) {
  CatchSignals catcher;
  const auto m = guarded(2 * kPageSize);
  test::fill_page(m.data(), 1, 0, 1);
  ASSERT_EQ(make_inaccessible(m.data(), kPageSize), 0);
  EXPECT_EQ(try_read(m.data()).signal, SIGSEGV);
  EXPECT_EQ(try_read(m.data() + kPageSize).signal, 0);
  ASSERT_EQ(make_accessible(m.data(), kPageSize), 0);
  EXPECT_EQ(test::wrong_page(m.data(), 1, 0, 1), "");
}

TEST(MappingTest, PopulateMakesEveryPagePresentAndKeepsBytes) {
  const auto m = guarded(kHugePageSize);
  ASSERT_EQ(advise_huge_pages(m.data(), m.size(), false), 0);
  test::fill_page(m.data() + 5 * kPageSize, 1, 5, 1);
  ASSERT_EQ(populate_for_write(m.data(), 64 * kPageSize), 0);
  EXPECT_EQ(test::resident_pages(m.data(), 512), 64u);
  EXPECT_EQ(test::wrong_page(m.data() + 5 * kPageSize, 1, 5, 1), "");
}

TEST(MappingTest, ChildrenGetNothingOrZeros) {
  const auto kept = guarded(kPageSize), wiped = guarded(kPageSize);
  test::fill_page(kept.data(), 1, 0, 1);
  test::fill_page(wiped.data(), 1, 0, 1);
  ASSERT_EQ(keep_from_children(kept.data(), kept.size()), 0);
  ASSERT_EQ(wipe_in_children(wiped.data(), wiped.size()), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    unsigned char there = 0;
    const bool gone = ::mincore(kept.data(), kPageSize, &there) != 0 && errno == ENOMEM;
    ::_exit(gone && test::is_zero(wiped.data()) ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(test::wrong_page(wiped.data(), 1, 0, 1), "");
}

TEST(MappingTest, BindToANodeThatDoesNotExistIsAnError) {
  const auto m = guarded(kPageSize);
  EXPECT_NE(bind_to_node(m.data(), m.size(), 1000, NodePolicy::bound), 0);
  EXPECT_EQ(bind_to_node(m.data(), m.size(), -1, NodePolicy::bound), EINVAL);
  EXPECT_EQ(bind_to_node(m.data(), m.size(), 5000, NodePolicy::preferred), ENODEV);
}

class DropListTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kPages = 300;

  void SetUp() override {
    memory_ = guarded(kPages * kPageSize);
    ASSERT_EQ(advise_huge_pages(memory_.data(), memory_.size(), false), 0);
    ASSERT_EQ(populate_for_write(memory_.data(), memory_.size()), 0);
  }
  std::byte* at(std::uint64_t page) const { return memory_.data() + page * kPageSize; }
  // Every other page.
  void add_all() {
    for (std::uint64_t page = 0; page < kPages; page += 2) list_.add(at(page), kPageSize);
  }
  void expect_dropped() {
    for (std::uint64_t page = 0; page < kPages; ++page)
      EXPECT_EQ(test::resident_pages(at(page), 1), page % 2) << page;
  }

  Mapping memory_;
  DropList list_;
};

TEST_F(DropListTest, DropsWhatWasAddedAndNothingElse) {
  test::CallHook hook;
  add_all();
  list_.drop();
  expect_dropped();
  const auto calls = hook.count(Call::madvise);
  list_.drop();
  EXPECT_EQ(hook.count(Call::madvise), calls) << "what is dropped is not dropped again";
}

TEST_F(DropListTest, OneByOneWhereTheKernelDoesNotTakeThemAtOnce) {
  test::CallHook hook;
  hook.fail(Call::process_madvise, EBADF);
  add_all();
  list_.drop();
  expect_dropped();
  EXPECT_EQ(hook.count(Call::process_madvise), 1u) << "it is not asked again";
}

TEST_F(DropListTest, LockedPagesToo) {
  if (test::lock_memory(at(8), 8 * kPageSize) != 0) GTEST_SKIP() << "mlock of 32 KiB: RLIMIT_MEMLOCK is too low";
  add_all();
  list_.drop();
  expect_dropped();
}

}  // namespace
}  // namespace vmm::os
