// Hazard 15: guests and hosts end while threads wait for pages, while pages are written and read, and from inside the
// event callback; nobody hangs, nobody reads zeros, and nothing is left behind.
#include <atomic>
#include <latch>
#include <csignal>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support/call_hook.h"
#include "support/eventually.h"
#include "support/guarded_access.h"
#include "support/host_rig.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"
#include "support/process_state.h"

namespace vmm {
namespace {

using test::CallHook;
using test::CatchSignals;
using test::eventually;
using test::HostRig;
using test::NodeRig;
using test::page_at;
using test::try_read;

class Teardown : public test::BackEnds {};
VMM_ALL_BACK_ENDS(Teardown);

// What 64 threads got that read one page each.
struct Readers {
  // All of them are about to read when this returns. A thread that begins to read when its guest has ended may find
  // anything: the addresses are free then, for the stack of another thread for example.
  void start(std::byte* base, std::uint64_t first) {
    for (std::uint64_t i = 0; i < 64; ++i)
      threads.emplace_back([this, at = base + (first + i) * kPageSize] {
        begun.count_down();
        const auto a = try_read(at);
        if (a.signal == SIGSEGV) ++segv;
        if (a.signal == 0 && a.value == 0) ++zeros;
      });
    begun.wait();
  }
  void join() {
    for (auto& t : threads) t.join();
  }
  std::latch begun{64};
  std::vector<std::thread> threads;
  std::atomic<int> segv{0}, zeros{0};
};

TEST_P(Teardown, Hazard15_GuestEndsWith64FaultsInFlight) {
  CatchSignals catcher;
  for (const bool short_of_memory : {false, true}) {
    NodeRig rig(GetParam());
    auto& guest = rig.add();
    guest.fill(0, 128, 1);
    rig.evict(guest);
    std::uint64_t taken = 0;
    if (short_of_memory) {
      while (rig.credit().try_charge(1)) ++taken;
    } else {
      for (std::uint64_t page = 32; page < 96; ++page) static_cast<void>(guest->table.lock(page));
    }
    Readers readers;
    readers.start(guest.at(0), 32);
    ASSERT_TRUE(eventually([&] { return test::waiting_faults(guest->uffd().fd()) == 64; }));
    rig.remove(guest);
    readers.join();
    EXPECT_EQ(readers.segv, 64);
    rig.credit().release(taken);
    EXPECT_EQ(rig.credit().charged(), 0u);
    // The service goes on for others.
    auto& next = rig.add();
    next.fill();
    rig.evict(next);
    EXPECT_EQ(next.wrong(), "");
  }
}

TEST_P(Teardown, Hazard15_GuestEndsWhileItsPagesAreReadAndPrefetched) {
  CatchSignals catcher;
  for (int round = 0; round < 8; ++round) {
    HostRig rig(GetParam());
    auto guest = rig.add("short-lived", 256);
    test::fill_guest(guest, 1);
    ASSERT_TRUE(HostRig::reclaim_down_to(guest, 0));
    ASSERT_TRUE(guest.prefetch(0, 64 * kPageSize));
    Readers readers;
    readers.start(guest.memory().data(), 64);
    guest = Guest();
    readers.join();
    EXPECT_EQ(readers.zeros, 0);
  }
}

TEST_P(Teardown, Hazard15_GuestEndsWhileItsPagesAreWritten) {
  CatchSignals catcher;
  // Budget pressure writes in the background; a write stands still while the guest ends.
  CallHook hook;
  HostRig rig(GetParam(), [](HostOptions& o) { o.memory = 24 * MiB; });
  auto guest = rig.add("written", 8192);
  const bool uring = GetParam().swap_io == SwapIo::io_uring;
  hook.hold(uring ? os::Call::uring_write : os::Call::pwrite, uring ? "vmm-work" : "vmm-write");
  std::thread filler([&] {
    auto* const base = guest.memory().data();
    for (std::uint64_t page = 0; page < 8192; ++page)
      if (test::try_write(base + page * kPageSize, page + 1).signal != 0) return;
  });
  ASSERT_TRUE(eventually([&] { return hook.held() > 0; }));
  std::atomic<bool> ended{false};
  auto* const base = guest.memory().data();
  std::thread ender([&] {
    guest = Guest();
    ended = true;
  });
  // The device still reads the staged pages: the guest's memory stays until the write has ended.
  EXPECT_FALSE(ended);
  hook.release();
  ender.join();
  filler.join();
  for (std::uint64_t page = 0; page < 8192; page += 100)
    ASSERT_EQ(try_read(base + page * kPageSize).signal, SIGSEGV) << page;
  auto next = rig.add("next", 512);
  test::fill_guest(next, 2);
  EXPECT_TRUE(HostRig::reclaim_down_to(next, 0));
  EXPECT_EQ(test::wrong_in(next, 2), "");
}

TEST_P(Teardown, Hazard15_GuestEndsInsideTheEventCallback) {
  CatchSignals catcher;
  HostRig rig(GetParam(), [](HostOptions& o) { o.scheduler = Scheduler::automatic; });
  for (int round = 0; round < 5; ++round) {
    auto guest = std::make_unique<Guest>(rig.add("ended by event", 64));
    test::fill_guest(*guest, 1);
    auto* const base = guest->memory().data();
    std::atomic<bool> ended{false};
    rig.host().on_event([&](const Event& e) {
      if (e.kind != EventKind::guest_created || e.guest != "trigger" || guest == nullptr) return;
      guest.reset();
      ended = true;
    });
    auto trigger = rig.add("trigger", 16);
    EXPECT_TRUE(eventually([&] { return ended.load(); }));
    EXPECT_EQ(try_read(base).signal, SIGSEGV);
    rig.host().on_event({});
  }
}

TEST_P(Teardown, Hazard15_HostEndsWhileTheEventCallbackRuns) {
  std::atomic<int> entered{0}, left{0};
  HostRig rig(GetParam(), [](HostOptions& o) { o.scheduler = Scheduler::automatic; });
  rig.host().on_event([&](const Event&) {
    ++entered;
    std::this_thread::yield();
    ++left;
  });
  auto guest = rig.add("last", 16);
  ASSERT_TRUE(eventually([&] { return entered > 0; }));
  rig.end();
  EXPECT_EQ(left, entered) << "the host ended before the callback did";
}

TEST_P(Teardown, Hazard15_HostEndsBeforeItsGuests) {
  CatchSignals catcher;
  HostRig rig(GetParam());
  auto guest = rig.add("survivor", 128);
  test::fill_guest(guest, 1);
  auto pin = guest.pin(0, 4 * kPageSize);
  ASSERT_TRUE(pin) << pin.error().message();
  auto seat = guest.attach_current_thread(Attach::measure_only);
  ASSERT_TRUE(seat) << seat.error().message();
  ASSERT_TRUE(HostRig::reclaim_down_to(guest, 4));
  auto* const base = guest.memory().data();
  Readers readers;
  readers.start(base, 64);
  rig.end();
  readers.join();
  EXPECT_EQ(readers.zeros, 0);
  for (std::uint64_t page = 0; page < 128; ++page) ASSERT_EQ(try_read(base + page * kPageSize).signal, SIGSEGV);
  // Inert from here on.
  EXPECT_TRUE(guest.memory().empty());
  EXPECT_EQ(guest.stats().error().code, make_error_code(Errc::inert_handle));
  const auto inert = [](const auto& r) { return !r && r.error().code == Errc::inert_handle; };
  EXPECT_TRUE(inert(guest.reclaim(kPageSize)));
  EXPECT_TRUE(inert(guest.restore()));
  EXPECT_TRUE(inert(guest.discard(0, kPageSize)));
  EXPECT_TRUE(inert(guest.prefetch(0, kPageSize)));
  EXPECT_TRUE(inert(guest.pin(0, kPageSize)));
  EXPECT_TRUE(inert(guest.attach_current_thread()));
  pin->release();
  seat->release();
}

TEST_P(Teardown, Hazard15_CallsRaceTheEndOfTheHost) {
  CatchSignals catcher;
  for (int round = 0; round < 5; ++round) {
    HostRig rig(GetParam());
    auto guest = rig.add("busy", 256);
    test::fill_guest(guest, 1);
    std::atomic<std::uint64_t> calls{0};
    std::vector<std::thread> callers;
    for (int t = 0; t < 4; ++t)
      callers.emplace_back([&, t] {
        for (bool inert = false; !inert; ++calls) {
          switch (t) {
            case 0: inert = !guest.reclaim(64 * kPageSize); break;
            case 1: inert = !guest.restore(); break;
            case 2: inert = !guest.discard(128 * kPageSize, 64 * kPageSize); break;
            default: inert = guest.memory().empty(); break;
          }
        }
      });
    EXPECT_TRUE(eventually([&] { return calls > 50; }));
    rig.end();
    for (auto& c : callers) c.join();
  }
}

TEST_P(Teardown, Hazard15_NothingIsLeftBehind) {
  CatchSignals catcher;
  const auto round = [] {
    HostRig rig(GetParam());
    for (int i = 0; i < 3; ++i) {
      auto guest = rig.add("passing", 256);
      test::fill_guest(guest, 1);
      ASSERT_TRUE(HostRig::reclaim_down_to(guest, 0));
      Readers readers;
      readers.start(guest.memory().data(), 0);
      guest = Guest();
      readers.join();
      EXPECT_EQ(readers.zeros, 0);
    }
    EXPECT_TRUE(eventually([&] { return rig.host().stats()->consumed == rig.host().stats()->overhead; }))
        << rig.host().stats()->consumed << " " << rig.host().stats()->overhead;
  };
  round();  // what the process makes once
  const auto descriptors = test::open_descriptors();
  for (int i = 0; i < 5; ++i) round();
  EXPECT_TRUE(test::library_threads_gone());
  EXPECT_EQ(test::registered_mappings(), 0u);
  EXPECT_TRUE(eventually([&] { return test::open_descriptors() == descriptors; }))
      << test::open_descriptors() << " descriptors, " << descriptors << " before";
}

}  // namespace
}  // namespace vmm
