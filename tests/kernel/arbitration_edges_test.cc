// Where parts of the arbitration meet: sampling and reclaim, pins and pools, waits and raised limits.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "support/call_hook.h"
#include "support/host_rig.h"
#include "support/kernel_view.h"

namespace vmm {
namespace {

using test::HostRig;

class ArbitrationEdges : public test::EachWay {
 protected:
  Guest add(const char* name, std::uint64_t memory, std::uint64_t reservation = 0, const char* pool = "/") {
    auto o = guest_options(name, memory);
    o.reservation = reservation;
    o.pool = pool;
    auto guest = rig_.host().create_guest(o);
    EXPECT_TRUE(guest) << guest.error().message();
    return guest ? std::move(*guest) : Guest();
  }
  // Memory is short enough for sampling, and a period has begun.
  void begin_sampling() {
    filler_ = add("filler", 72 * MiB);
    std::fill_n(filler_.memory().data(), 72 * MiB, std::byte{1});
    rig_.tick();
    rig_.tick();
  }
  HostRig rig_{GetParam()};
  Guest filler_;
};
VMM_EACH_WAY(ArbitrationEdges);

// A small guest of huge pages is watched as a whole: all of it waits in staging, and can be taken from there.
TEST_P(ArbitrationEdges, WhatIsSampledIsTakenLikeAnyOther) {
  auto guest = add("sampled", 24 * MiB);
  test::fill_guest(guest, 1);
  begin_sampling();
  EXPECT_GT(guest.stats()->staging, 0u) << "nothing is watched: the test shows nothing";
  const auto freed = guest.reclaim(16 * MiB);
  ASSERT_TRUE(freed) << freed.error().message();
  EXPECT_GE(*freed, 16 * MiB);
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

TEST_P(ArbitrationEdges, WhatIsSampledAndReservedStays) {
  auto guest = add("reserved", 24 * MiB);
  test::fill_guest(guest, 1);
  // Its swap file has room for all of it.
  ASSERT_TRUE(guest.configure({.reservation = 20 * MiB}));
  begin_sampling();
  EXPECT_GT(guest.stats()->staging, 0u) << "nothing is watched: the test shows nothing";
  const auto freed = guest.reclaim(24 * MiB);
  ASSERT_TRUE(freed) << freed.error().message();
  EXPECT_LE(*freed, 4 * MiB);
  EXPECT_GE(test::pages_in_memory(guest), 20 * MiB / kPageSize);
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

// It would wait for ever for what nobody takes.
TEST_P(ArbitrationEdges, APinIsRefusedWhereItsPoolHasNoRoomForIt) {
  ASSERT_TRUE(rig_.host().create_pool("/small", {.limit = 12 * MiB}));
  auto a = add("a", 24 * MiB, 0, "/small"), b = add("b", 24 * MiB, 4 * MiB, "/small");
  const auto refused = a.pin(0, 8 * MiB);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::pin_limit);
  auto pin = a.pin(0, 6 * MiB);
  ASSERT_TRUE(pin) << pin.error().message();
  EXPECT_FALSE(rig_.host().configure_pool("/small", {.limit = 8 * MiB})) << "pinned and reserved are 10 MiB";
  EXPECT_FALSE(a.configure({.limit = 4 * MiB})) << "6 MiB of it are pinned";
  test::fill_guest(b, 2);
  EXPECT_EQ(test::wrong_in(b, 2), "");
}

TEST_P(ArbitrationEdges, ARaisedLimitLetsWaitingThreadsGoOn) {
  ASSERT_TRUE(rig_.host().create_pool("/tight", {.limit = 4 * MiB}));
  auto in_pool = add("in the pool", 16 * MiB, 0, "/tight"), alone = add("alone", 16 * MiB);
  ASSERT_TRUE(alone.configure({.limit = 4 * MiB}));
  // Nothing can leave memory: who is at its limit waits.
  test::CallHook hook;
  hook.fail(os::Call::pwrite, ENOSPC);
  hook.fail(os::Call::uring_write, ENOSPC);
  std::atomic<int> done{0};
  const auto fill = [&](const Guest& guest) {
    std::fill_n(guest.memory().data(), 16 * MiB, std::byte{7});
    ++done;
  };
  std::thread one(fill, std::cref(in_pool)), other(fill, std::cref(alone));
  EXPECT_TRUE(test::eventually([&] { return in_pool.stats()->stalls + alone.stats()->stalls >= 2; }));
  EXPECT_EQ(done, 0);
  EXPECT_TRUE(rig_.host().configure_pool("/tight", {.limit = 0}));
  EXPECT_TRUE(alone.configure({.limit = 0}));
  one.join();
  other.join();
  // What is parked comes back when it is touched.
  std::uint64_t in_place = 0, staging = 0;
  EXPECT_TRUE(test::eventually([&] {
    staging = in_pool.stats()->staging;
    in_place = test::resident_pages(in_pool.memory().data(), 4096) * kPageSize;
    return in_place + staging == 16 * MiB;
  })) << in_place << " in place, " << staging << " in staging";
}

}  // namespace
}  // namespace vmm
