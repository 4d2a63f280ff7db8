#include "region/notice.h"

#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace vmm::region {
namespace {

TEST(Notices, ComeOutInOrder) {
  auto notices = std::make_unique<Notices>();
  Notice out;
  EXPECT_FALSE(notices->pop(out));
  for (std::uint64_t i = 0; i < 3000; ++i) {
    notices->push({Notice::kSwapReadFailed, 5, i, i * 2});
    if (i % 3 != 2) continue;
    for (std::uint64_t k = i - 2; k <= i; ++k) {
      ASSERT_TRUE(notices->pop(out));
      EXPECT_EQ(out.kind, Notice::kSwapReadFailed);
      EXPECT_EQ(out.error, 5);
      EXPECT_EQ(out.guest, k);
      EXPECT_EQ(out.value, k * 2);
    }
  }
  EXPECT_FALSE(notices->pop(out));
  EXPECT_EQ(notices->dropped(), 0u);
}

TEST(Notices, AFullRingDropsTheNewOnesAndCountsThem) {
  auto notices = std::make_unique<Notices>();
  for (std::uint64_t i = 0; i < 2000; ++i) notices->push({Notice::kSwapWriteFailed, 0, i, 0});
  EXPECT_GT(notices->dropped(), 0u);
  std::uint64_t seen = 0;
  for (Notice out; notices->pop(out); ++seen) EXPECT_EQ(out.guest, seen);
  EXPECT_EQ(seen + notices->dropped(), 2000u);
  notices->push({Notice::kSwapRecovered, 0, 77, 0});
  Notice out;
  ASSERT_TRUE(notices->pop(out));
  EXPECT_EQ(out.guest, 77u);
}

TEST(Notices, FromManyThreadsNoneIsLostOrTorn) {
  auto notices = std::make_unique<Notices>();
  std::vector<std::thread> writers;
  for (std::uint64_t t = 0; t < 4; ++t)
    writers.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 20000; ++i) notices->push({Notice::kSwapReadFailed, 0, t, t << 32 | i});
    });
  std::uint64_t seen = 0;
  std::vector<std::uint64_t> next(4, 0);
  const auto take = [&] {
    for (Notice out; notices->pop(out); ++seen) {
      ASSERT_LT(out.guest, 4u);
      ASSERT_EQ(out.value >> 32, out.guest);
      const auto number = out.value & 0xffffffff;
      ASSERT_GE(number, next[out.guest]) << "each thread's come in order";
      next[out.guest] = number + 1;
    }
  };
  while (seen + notices->dropped() < 80000) take();
  for (auto& w : writers) w.join();
  take();
  EXPECT_EQ(seen + notices->dropped(), 80000u);
}

TEST(Notices, RingTheBell) {
  auto notices = std::make_unique<Notices>();
  auto bell = os::Doorbell::create();
  auto poller = os::Poller::create();
  ASSERT_TRUE(bell && poller);
  ASSERT_EQ(poller->add(bell->fd(), 1), 0);
  notices->set_bell(&*bell);
  std::uint64_t tag = 0;
  EXPECT_EQ(poller->wait(&tag, 1, 0), 0);
  notices->push({});
  EXPECT_EQ(poller->wait(&tag, 1, 0), 1);
}

}  // namespace
}  // namespace vmm::region
