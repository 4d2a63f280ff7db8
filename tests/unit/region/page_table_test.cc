#include "region/page_table.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace vmm::region {
namespace {

PageTable make(std::uint64_t pages) {
  auto table = PageTable::create(pages);
  EXPECT_TRUE(table) << table.error().message();
  return std::move(*table);
}

TEST(PageTable, BeginsNativeAndCostsEightBytesAPage) {
  const auto table = make(1000);
  EXPECT_EQ(table.pages(), 1000u);
  EXPECT_EQ(table.bytes(), 8000u);
  for (std::uint64_t page = 0; page < 1000; ++page) EXPECT_EQ(table.load(page).raw(), 0u);
}

TEST(PageTable, ALockIsHeldByOneAndGivesTheWordWithoutIt) {
  auto table = make(2);
  const auto word = table.try_lock(0);
  ASSERT_TRUE(word);
  EXPECT_FALSE(word->locked());
  EXPECT_TRUE(table.load(0).locked());
  EXPECT_FALSE(table.try_lock(0));
  EXPECT_TRUE(table.try_lock(1)) << "each page has its own";
  table.unlock(0, word->with_state(PageState::resident).with_slot(7));
  EXPECT_EQ(table.load(0).state(), PageState::resident);
  EXPECT_EQ(table.load(0).slot(), 7u);
  EXPECT_FALSE(table.load(0).locked());
}

TEST(PageTable, AChangeKeepsTheLock) {
  auto table = make(1);
  auto word = table.lock(0).with_state(PageState::resident);
  for (const auto state : {PageState::resident, PageState::isolated, PageState::shared}) {
    word = word.with_state(state);
    table.change(0, word);
    EXPECT_EQ(table.load(0).state(), state);
    EXPECT_TRUE(table.load(0).locked());
    EXPECT_FALSE(table.try_lock(0));
  }
  table.unlock(0, word);
  EXPECT_EQ(table.load(0).state(), PageState::shared);
  EXPECT_FALSE(table.load(0).locked());
}

TEST(PageTable, LocksExclude) {
  auto table = make(1);
  std::uint64_t counter = 0;  // protected by the page's lock
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20000; ++i) {
        const auto word = table.lock(0);
        ++counter;
        table.unlock(0, word);
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(counter, 80000u);
}

TEST(PageTable, WhoAnnouncedAWaitIsRungOnce) {
  auto table = make(1);
  auto bell = os::Doorbell::create();
  ASSERT_TRUE(bell);
  auto poller = os::Poller::create();
  ASSERT_TRUE(poller);
  ASSERT_EQ(poller->add(bell->fd(), 5), 0);
  table.set_bell(&*bell);
  const auto rung = [&] {
    std::uint64_t tag = 0;
    const bool yes = poller->wait(&tag, 1, 0) == 1;
    bell->clear();
    return yes;
  };
  table.released();
  EXPECT_FALSE(rung()) << "nobody waits";
  const auto word = table.lock(0);
  table.announce_wait();
  table.unlock(0, word);
  table.released();
  EXPECT_TRUE(rung());
  table.released();
  EXPECT_FALSE(rung());
}

TEST(PageTable, PageLockPutsBackWhatItWasTold) {
  auto table = make(1);
  { PageLock lock(table, 0); }
  EXPECT_EQ(table.load(0).raw(), 0u);
  {
    PageLock lock(table, 0);
    EXPECT_TRUE(table.load(0).locked());
    lock.set(lock.word().with_pin(true));
  }
  EXPECT_TRUE(table.load(0).pinned());
  EXPECT_FALSE(table.load(0).locked());
}

// Hazard 2: only pages of a managed guest leave their place.
TEST(PageTableDeathTest, Hazard02_NativePageCannotBecomeIsolated) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto table = make(1);
  const auto word = table.lock(0);
  EXPECT_DEATH(table.unlock(0, word.with_state(PageState::isolated)), "page_table");
  table.unlock(0, word);
}

TEST(PageTableDeathTest, UnlockingWhatIsNotLockedEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto table = make(1);
  EXPECT_DEATH(table.unlock(0, PageWord()), "locked");
}

TEST(PageTable, ATouchEndsTheWatchOfItsPageOrOfItsHugePage) {
  auto table = make(3 * 512 + 100);
  const auto watch = [&](std::uint64_t first, std::uint64_t end, Watch w) {
    for (auto page = first; page < end; ++page) table.unlock(page, table.try_lock(page)->with_watch(w));
  };
  const auto watched = [&] {
    std::uint64_t count = 0;
    for (std::uint64_t page = 0; page < table.pages(); ++page) count += table.load(page).watched() ? 1 : 0;
    return count;
  };
  const auto touch = [&](std::uint64_t page) {
    const auto word = table.try_lock(page);
    table.unlock(page, table.unwatch(page, *word));
  };
  watch(0, 10, Watch::page);
  watch(512, 1024, Watch::whole);
  watch(1024, 1536, Watch::whole);
  touch(3);
  EXPECT_EQ(watched(), 9u + 1024);
  EXPECT_FALSE(table.load(3).watched());
  touch(700);
  EXPECT_EQ(watched(), 9u + 512) << "all of its huge page, and no other";
  // What somebody else has locked keeps its watch, and who has it locked finds its word unchanged.
  const auto held = table.try_lock(1100);
  touch(1024);
  EXPECT_EQ(watched(), 9u + 1);
  table.unlock(1100, *held);
  EXPECT_TRUE(table.load(1100).watched());
  for (std::uint64_t page = 0; page < table.pages(); ++page) EXPECT_FALSE(table.load(page).locked()) << page;
}

// Pages of zeros that were dropped are counted until they are touched, or are something else.
TEST(PageTable, CountsDroppedPagesUntilTheyChange) {
  auto made = PageTable::create(8);
  ASSERT_TRUE(made) << made.error().message();
  auto& table = *made;
  const auto set = [&](std::uint64_t page, auto&& change) { table.unlock(page, change(table.lock(page))); };
  const auto become = [&](std::uint64_t page, PageState state) {
    set(page, [&](PageWord w) { return w.with_state(state); });
  };
  for (std::uint64_t page = 0; page < 4; ++page) {
    become(page, PageState::resident);
    become(page, PageState::isolated);
    set(page, [](PageWord w) { return w.with_dropped(); });
  }
  EXPECT_EQ(table.dropped(), 4u);
  become(0, PageState::resident);
  become(1, PageState::ballooned);
  EXPECT_EQ(table.dropped(), 2u);
  EXPECT_FALSE(table.load(0).has_slot());
  EXPECT_EQ(table.load(0).slot(), 0u);
  // Empty once more, but for another reason.
  become(0, PageState::empty);
  EXPECT_EQ(table.dropped(), 2u);
  EXPECT_FALSE(table.load(0).dropped());
}

}  // namespace
}  // namespace vmm::region
