#include "os/userfaultfd.h"

#include <sys/mman.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "os/mapping.h"
#include "support/call_hook.h"
#include "support/eventually.h"
#include "support/guarded_access.h"
#include "support/kernel_view.h"
#include "support/pattern.h"
#include "support/way.h"

namespace vmm::os {
namespace {

using test::CatchSignals;
using test::eventually;
using test::try_read;

class UserfaultfdTest : public test::EachWay {
 protected:
  static constexpr std::uint64_t kPages = 64;
  void SetUp() override {
    test::EachWay::SetUp();
    if (IsSkipped()) return;
    UffdFeatures features;
    features.move = features.wp_async = GetParam().isolation == Isolation::move;
    features.poison = probe().has("poison");
    auto uffd = Userfaultfd::open(features);
    ASSERT_TRUE(uffd) << uffd.error().message();
    uffd_ = std::move(*uffd);
    auto range = Mapping::guarded(kPages * kPageSize), source = Mapping::guarded(kPages * kPageSize);
    ASSERT_TRUE(range && source);
    range_ = std::move(*range);
    source_ = std::move(*source);
    for (auto* m : {&range_, &source_}) ASSERT_EQ(advise_huge_pages(m->data(), m->size(), false), 0);
    ASSERT_EQ(uffd_.register_range(range_.data(), range_.size(), true), 0);
    for (std::uint64_t page = 0; page < kPages; ++page) test::fill_page(from(page), 1, page, 1);
  }
  std::byte* at(std::uint64_t page) { return range_.data() + page * kPageSize; }
  std::byte* from(std::uint64_t page) { return source_.data() + page * kPageSize; }
  std::string wrong(std::uint64_t page) { return test::wrong_page(at(page), 1, page, 1); }

  Mapping range_, source_;
  Userfaultfd uffd_;
};
VMM_EACH_WAY(UserfaultfdTest);

TEST_P(UserfaultfdTest, CopyPutsPagesInPlaceAndStopsAtWhatIsThere) {
  EXPECT_EQ(uffd_.copy(at(5), from(5), kPageSize, false).error, 0);
  const auto p = uffd_.copy(at(0), from(0), 10 * kPageSize, false);
  EXPECT_EQ(p.bytes, 5 * kPageSize);
  EXPECT_EQ(p.error, EEXIST);
  EXPECT_EQ(uffd_.copy(at(6), from(6), 4 * kPageSize, true).bytes, 4 * kPageSize);
  for (std::uint64_t page = 0; page < 10; ++page) EXPECT_EQ(wrong(page), "");
}

TEST_P(UserfaultfdTest, ZeroCostsNoMemoryUntilItIsWritten) {
  const auto p = uffd_.zero(at(0), 16 * kPageSize);
  EXPECT_EQ(p.bytes, 16 * kPageSize);
  EXPECT_EQ(p.error, 0);
  EXPECT_TRUE(test::is_zero(at(3)));
  EXPECT_EQ(test::smaps_bytes(range_.data(), range_.size(), "Rss"), 0u);
  test::fill_page(at(3), 1, 3, 1);
  EXPECT_EQ(test::smaps_bytes(range_.data(), range_.size(), "Rss"), kPageSize);
}

TEST_P(UserfaultfdTest, MoveTakesThePagesThemselves) {
  if (!uffd_.features().move) return;
  EXPECT_EQ(uffd_.move(at(0), from(0), 8 * kPageSize).bytes, 8 * kPageSize);
  EXPECT_EQ(test::resident_pages(from(0), 8), 0u);
  for (std::uint64_t page = 0; page < 8; ++page) EXPECT_EQ(wrong(page), "");
  // A hole in the source ends it.
  const auto p = uffd_.move(at(8), from(6), 4 * kPageSize);
  EXPECT_EQ(p.bytes, 0u);
  EXPECT_EQ(p.error, ENOENT);
}

// Hazard 15: the kernel refuses a range over two mappings whole.
TEST_P(UserfaultfdTest, Hazard15_RangesOverTwoMappingsAreDoneInParts) {
  for (const std::uint64_t page : {3u, 20u, 33u, 50u}) ASSERT_EQ(::madvise(at(page), 2 * kPageSize, MADV_SEQUENTIAL), 0);
  ASSERT_GT(test::mappings_in(range_.data(), range_.size()), 4u);
  EXPECT_EQ(uffd_.copy(at(0), from(0), 24 * kPageSize, false).bytes, 24 * kPageSize);
  EXPECT_EQ(uffd_.zero(at(24), 16 * kPageSize).bytes, 16 * kPageSize);
  for (std::uint64_t page = 0; page < 24; ++page) EXPECT_EQ(wrong(page), "");
  if (!uffd_.features().move) return;
  const auto p = uffd_.move(at(40), from(40), 24 * kPageSize);
  EXPECT_EQ(p.bytes, 24 * kPageSize);
  EXPECT_EQ(p.error, 0);
  for (std::uint64_t page = 40; page < 64; ++page) EXPECT_EQ(wrong(page), "");
}

// Hazard 14: a partial result is resumed, and the error of the rest is told.
TEST_P(UserfaultfdTest, Hazard14_KernelThatAsksToTryAgainIsAskedAFewTimes) {
  test::CallHook hook;
  hook.fail(Call::uffd_copy, EAGAIN, 10);
  EXPECT_EQ(uffd_.copy(at(0), from(0), kPageSize, false).error, 0);
  hook.fail(Call::uffd_copy, EAGAIN);
  EXPECT_EQ(uffd_.copy(at(1), from(1), kPageSize, false).error, EAGAIN);
}

TEST_P(UserfaultfdTest, EventsTellPageAndKindOfAccess) {
  FaultEvent events[4];
  EXPECT_EQ(uffd_.read(events, 4), -EAGAIN);
  for (const bool write : {false, true}) {
    const std::uint64_t page = write ? 9 : 8;
    std::thread toucher([&] {
      if (write)
        test::try_write(at(page) + 512, 7);
      else
        try_read(at(page) + 512);
    });
    int count = 0;
    ASSERT_TRUE(eventually([&] { return (count = uffd_.read(events, 4)) > 0; }));
    EXPECT_EQ(count, 1);
    EXPECT_EQ(events[0].address, reinterpret_cast<std::uintptr_t>(at(page)));
    EXPECT_EQ(events[0].write, write);
    EXPECT_FALSE(events[0].write_protected);
    EXPECT_FALSE(events[0].other);
    EXPECT_EQ(uffd_.zero(at(page), kPageSize).error, 0);
    toucher.join();
  }
}

TEST_P(UserfaultfdTest, PoisonIsSigbusUntilThePlaceIsDropped) {
  CatchSignals catcher;
  if (!probe().has("poison")) GTEST_SKIP() << "probe(): poison is missing";
  ASSERT_EQ(uffd_.poison(at(4), kPageSize), 0);
  EXPECT_EQ(uffd_.poison(at(4), kPageSize), EEXIST);
  EXPECT_EQ(try_read(at(4)).signal, SIGBUS);
  ASSERT_EQ(drop_pages(at(4), kPageSize), 0);
  EXPECT_EQ(uffd_.copy(at(4), from(4), kPageSize, false).error, 0);
  EXPECT_EQ(wrong(4), "");
}

// Hazard 18b: what wakes, also where nothing is mapped any more.
TEST_P(UserfaultfdTest, Hazard18b_InaccessibleThenWakeIsSigsegvAlsoForARangeThatIsGone) {
  CatchSignals catcher;
  for (const bool unmap : {false, true}) {
    const std::uint64_t page = unmap ? 1 : 0;
    test::Access got;
    std::thread waiter([&] { got = try_read(at(page)); });
    ASSERT_TRUE(eventually([&] { return test::waiting_faults(uffd_.fd()) == 1; }));
    const int error = unmap ? ::munmap(at(1), kPageSize) : make_inaccessible(at(0), kPageSize);
    ASSERT_EQ(error, 0);
    ASSERT_EQ(uffd_.wake(at(page), kPageSize), 0);
    waiter.join();
    EXPECT_EQ(got.signal, SIGSEGV);
  }
}

TEST_P(UserfaultfdTest, SecondRegistrationOfARangeIsRefused) {
  auto other = Userfaultfd::open({});
  ASSERT_TRUE(other) << other.error().message();
  EXPECT_EQ(other->register_range(range_.data(), range_.size(), false), EBUSY);
  EXPECT_EQ(uffd_.unregister_range(range_.data(), range_.size()), 0);
  EXPECT_EQ(other->register_range(range_.data(), range_.size(), false), 0);
}

}  // namespace
}  // namespace vmm::os
