// Options of swapping show their effect on a host: how much is read and written at once, and when a file that has
// failed is written again.
#include <algorithm>
#include <chrono>
#include <cerrno>
#include <cstdint>
#include <thread>

#include <gtest/gtest.h>

#include "reclaim/swap_store.h"
#include "support/call_hook.h"
#include "support/eventually.h"
#include "support/host_rig.h"

namespace vmm {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using test::CallHook;
using test::HostRig;

os::Call write_call(HostRig& rig) {
  return rig.host().stats()->swap_io == "io_uring" ? os::Call::uring_write : os::Call::pwrite;
}

os::Call read_call(HostRig& rig) {
  return rig.host().stats()->swap_io == "io_uring" ? os::Call::uring_read : os::Call::pread;
}

class SwapOptions : public test::EachWay {};
VMM_EACH_WAY(SwapOptions);

TEST_P(SwapOptions, SwapInBatchPagesIsTheMostThatAReadBrings) {
  constexpr std::uint64_t kPages = 1024;
  std::uint64_t reads[2];
  for (const bool batches : {false, true}) {
    HostRig rig(
        GetParam(), batches ? [](HostOptions& o) { o.swap_in_batch_pages = 64; }
                            : [](HostOptions& o) { o.swap_in_batch_pages = 1; });
    auto guest = rig.add("g", kPages);
    test::fill_guest(guest, 1);
    ASSERT_TRUE(HostRig::reclaim_down_to(guest, 0));
    CallHook hook;
    EXPECT_EQ(test::wrong_in(guest, 1), "");
    EXPECT_TRUE(test::eventually([&] { return guest.stats()->swapped_in == kPages * kPageSize; }));
    reads[batches ? 1 : 0] = hook.count(read_call(rig));
  }
  EXPECT_GE(reads[0], kPages) << "each page by itself";
  EXPECT_LE(reads[1], kPages / 16);
  EXPECT_GE(reads[1], kPages / 64);
}

// Writes are held: as many are on their way as may be, and one more is made ready.
TEST(SwapOptionsOfThreads, SwapAsyncWritePagesIsTheMostWritesInFlight) {
  const test::Way way{"threads", Isolation::automatic, SwapIo::threads};
  if (const auto why = test::unable(way); !why.empty()) GTEST_SKIP() << why;
  constexpr std::uint64_t kRun = 64, kRuns = 64;
  struct Case {
    std::uint32_t writes;
    int threads;
    void (*adjust)(HostOptions&);
  };
  for (const auto& c : {Case{1, 1, [](HostOptions& o) { o.swap_async_write_pages = 1; }},
                        Case{20, 8, [](HostOptions& o) { o.swap_async_write_pages = 20; }}}) {
    SCOPED_TRACE(c.writes);
    CallHook hook;
    HostRig rig(way, c.adjust);
    auto guest = rig.add("g", kRuns * kRun);
    test::fill_guest(guest, 1);
    const auto on_their_way = [&] {
      const auto& table = stress::memory_of(guest).table;
      std::uint64_t count = 0;
      for (std::uint64_t page = 0; page < kRuns * kRun; ++page) count += table.load(page).writing() ? 1 : 0;
      return count;
    };
    hook.hold(os::Call::pwrite, "vmm-write");
    std::thread asks([&] { EXPECT_EQ(*guest.reclaim(kRuns * kRun * kPageSize), kRuns * kRun * kPageSize); });
    EXPECT_TRUE(test::eventually([&] { return hook.held() >= c.threads && on_their_way() >= c.writes * kRun; }))
        << hook.held() << " threads write, " << on_their_way() << " pages are on their way";
    std::uint64_t most = 0;
    for (int i = 0; i < 2000; ++i) {
      most = std::max(most, on_their_way());
      std::this_thread::yield();
    }
    EXPECT_LE(most, (c.writes + 1) * kRun);
    EXPECT_LE(hook.held(), static_cast<int>(c.writes));
    hook.release();
    asks.join();
    EXPECT_EQ(test::wrong_in(guest, 1), "");
  }
}

TEST_P(SwapOptions, SwapRetryTimeoutIsHowLongAFailedFileIsLeftAlone) {
  HostRig rig(GetParam(), [](HostOptions& o) { o.swap_retry_timeout = hours(1); });
  auto guest = rig.add("g", 256);
  test::fill_guest(guest, 1);
  CallHook hook;
  const auto call = write_call(rig);
  hook.fail(call, EIO);
  EXPECT_EQ(*guest.reclaim(256 * kPageSize), 0u);
  EXPECT_TRUE(guest.stats()->swap_failed);
  hook.fail(call, 0, 0);
  const auto writes = hook.count(call);
  EXPECT_GT(writes, 0u);
  for (const auto later : {minutes(0), minutes(59)}) {
    rig.tick(later);
    EXPECT_EQ(*guest.reclaim(256 * kPageSize), 0u);
    EXPECT_EQ(hook.count(call), writes) << "no write is tried";
    EXPECT_EQ(guest.stats()->resident, 256 * kPageSize);
  }
  EXPECT_TRUE(rig.events(EventKind::swap_recovered).empty());
  rig.tick(minutes(2));
  EXPECT_TRUE(HostRig::reclaim_down_to(guest, 0));
  EXPECT_GT(hook.count(call), writes);
  EXPECT_FALSE(guest.stats()->swap_failed);
  rig.tick();
  EXPECT_EQ(rig.events(EventKind::swap_write_failed).size(), 1u);
  EXPECT_EQ(rig.events(EventKind::swap_recovered).size(), 1u);
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

TEST_P(SwapOptions, WithoutASwapRetryTimeoutItIsTenMilliseconds) {
  HostRig rig(GetParam());  // swap_retry_timeout = 0
  auto guest = rig.add("g", 256);
  test::fill_guest(guest, 1);
  CallHook hook;
  const auto call = write_call(rig);
  hook.fail(call, EIO);
  // The clock of a host that was not told another time.
  const auto before = std::chrono::steady_clock::now().time_since_epoch();
  EXPECT_EQ(*guest.reclaim(256 * kPageSize), 0u);
  const auto after = std::chrono::steady_clock::now().time_since_epoch();
  const auto& store = reclaim::SwapStore::of(stress::memory_of(guest));
  EXPECT_TRUE(store.failed());
  EXPECT_FALSE(store.writable(before + milliseconds(10) - std::chrono::nanoseconds(1)));
  EXPECT_TRUE(store.writable(after + milliseconds(10)));
  hook.fail(call, 0, 0);
  rig.tick(milliseconds(10));
  EXPECT_GT(*guest.reclaim(256 * kPageSize), 0u) << "they have passed";
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

}  // namespace
}  // namespace vmm
