// Hazards 1 and 2: a page that was taken away, or whose guest has ended, never reads as zero.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support/call_hook.h"
#include "support/eventually.h"
#include "support/guarded_access.h"
#include "support/host_rig.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"

namespace vmm {
namespace {

using region::PageState;
using test::CallHook;
using test::CatchSignals;
using test::HostRig;
using test::NodeRig;
using test::RigGuest;
using test::RigOptions;
using test::try_read;

class SilentZeros : public test::BackEnds {};
VMM_ALL_BACK_ENDS(SilentZeros);

RigOptions one_by_one() {
  RigOptions o;
  o.batch_pages = 1;
  return o;
}

// Pages 0-31 resident, 32-63 parked, 64-127 swapped, 128-191 being written, 192-255 never touched.
void make_mixed(NodeRig& rig, RigGuest& guest) {
  guest.fill(0, 128, 1);
  rig.evict(guest);
  guest.fill(128, 192, 1);
  rig.park(guest);
  rig.write(guest, false);
  for (std::uint64_t page = 0; page < 64; ++page) try_read(guest.at(page));
  rig.park(guest);
  for (std::uint64_t page = 0; page < 32; ++page) try_read(guest.at(page));
  ASSERT_EQ(guest.state(0), PageState::resident);
  ASSERT_EQ(guest.state(100), PageState::swapped);
  ASSERT_TRUE(guest->table.load(130).writing());
}

TEST_P(SilentZeros, Hazard01_EndedGuestIsInaccessibleInEveryPageState) {
  CatchSignals catcher;
  NodeRig rig(GetParam(), one_by_one());
  auto& guest = rig.add();
  make_mixed(rig, guest);
  auto* const base = guest.at(0);
  rig.remove(guest);
  for (std::uint64_t page = 0; page < 256; ++page)
    ASSERT_EQ(try_read(base + page * kPageSize).signal, SIGSEGV) << "page " << page;
}

TEST_P(SilentZeros, Hazard01_ReadersOfAGuestThatEndsSeeItsBytesOrSigsegv) {
  CatchSignals catcher;
  for (int round = 0; round < 10; ++round) {
    NodeRig rig(GetParam(), one_by_one());
    auto& guest = rig.add();
    guest.fill();
    rig.evict(guest);
    auto* const base = guest.at(0);
    const auto id = guest->id();
    std::atomic<int> reading{0}, wrong{0}, other_signals{0};
    // Who was not running while the guest ended may find another mapping at the address.
    std::atomic<bool> gone{false};
    std::vector<std::thread> readers;
    for (int t = 0; t < 4; ++t)
      readers.emplace_back([&, t] {
        for (auto page = static_cast<std::uint64_t>(t) * 64; !gone; page = (page + 7) % 256) {
          const auto a = try_read(base + page * kPageSize);
          if (a.signal != 0) {
            if (a.signal != SIGSEGV) ++other_signals;
            return;
          }
          if (a.value != id && !gone) ++wrong;
          ++reading;
        }
      });
    EXPECT_TRUE(test::eventually([&] { return reading > 20; }));
    rig.park(guest);
    rig.remove(guest);
    gone = true;
    for (auto& r : readers) r.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(other_signals, 0);
  }
}

// Where the kernel refuses to make the memory inaccessible it is unmapped before its userfaultfd is closed.
TEST_P(SilentZeros, Hazard01_RefusedProtectionAtTheEndGivesNoZeros) {
  CatchSignals catcher;
  CallHook hook;
  NodeRig rig(GetParam(), one_by_one());
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  auto* const base = guest.at(0);
  std::vector<region::PageWord> words;
  for (std::uint64_t page = 0; page < 8; ++page) words.push_back(guest->table.lock(page));
  std::atomic<int> zeros{0}, segv{0};
  std::vector<std::thread> waiters;
  for (std::uint64_t page = 0; page < 8; ++page)
    waiters.emplace_back([&, page] {
      const auto a = try_read(base + page * kPageSize);
      if (a.signal == SIGSEGV) ++segv;
      if (a.signal == 0) ++zeros;
    });
  EXPECT_TRUE(test::eventually([&] { return test::waiting_faults(guest->uffd().fd()) == 8; }));
  hook.fail(os::Call::mprotect, ENOMEM);
  rig.remove(guest);
  for (auto& w : waiters) w.join();
  EXPECT_EQ(segv, 8);
  EXPECT_EQ(zeros, 0);
}

// Against the rules; but not for zeros in the place of its bytes.
TEST_P(SilentZeros, Hazard01_WhatItsOwnerMovesAwayIsThereOrGetsASignal) {
  CatchSignals catcher;
  NodeRig rig(GetParam(), one_by_one());
  auto& guest = rig.add();
  make_mixed(rig, guest);
  constexpr std::uint64_t kMoved = 128;
  const auto id = guest->id();
  const auto in_place = test::resident_pages(guest.at(0), kMoved);
  ASSERT_LT(in_place, kMoved / 3 * 2);
  auto* const to = static_cast<std::byte*>(
      ::mmap(nullptr, kMoved * kPageSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  ASSERT_NE(to, MAP_FAILED);
  ASSERT_EQ(::mremap(guest.at(0), kMoved * kPageSize, kMoved * kPageSize, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
  std::uint64_t refused = 0;
  for (std::uint64_t page = 0; page < kMoved; ++page) {
    const auto a = try_read(to + page * kPageSize);
    if (a.signal == 0) {
      EXPECT_EQ(a.value, id) << "page " << page;
    } else {
      EXPECT_TRUE(a.signal == SIGBUS || a.signal == SIGSEGV) << "page " << page;
      ++refused;
    }
  }
  EXPECT_EQ(refused, kMoved - in_place);
  // The rest is as it was.
  rig.finish();
  EXPECT_EQ(guest.wrong(kMoved, 192, 1), "");
  EXPECT_TRUE(test::is_zero(guest.at(200)));
  rig.remove(guest);
  ::munmap(to, kMoved * kPageSize);
}

TEST_P(SilentZeros, Hazard01_ChildOfForkGetsSigsegvAndErrors) {
  HostRig rig(GetParam());
  auto guest = rig.add("parent", 64);
  test::fill_guest(guest, 7);
  HostRig::reclaim_all(guest);
  auto* const memory = guest.memory().data();
  // Reads in the child: one page that is resident in the parent, one that is swapped.
  try_read(memory);
  for (const std::uint64_t page : {std::uint64_t{0}, std::uint64_t{50}}) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::signal(SIGSEGV, SIG_DFL);
      const volatile auto* word = reinterpret_cast<const volatile std::uint64_t*>(memory + page * kPageSize);
      ::_exit(*word == 0 ? 1 : 2);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    // Sanitizers turn the signal into an exit status of their own.
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
    EXPECT_TRUE(killed || (WIFEXITED(status) && WEXITSTATUS(status) > 2)) << "status " << status;
  }
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto forked = [](const auto& r) { return !r && r.error().code == Errc::forked_child; };
    GuestOptions o;
    o.name = "child";
    o.memory = kPageSize;
    const bool all = forked(guest.pin(0, kPageSize)) && forked(guest.discard(0, kPageSize)) &&
                     forked(guest.reclaim(kPageSize)) && forked(guest.restore()) &&
                     forked(guest.prefetch(0, kPageSize)) && forked(guest.attach_current_thread()) &&
                     forked(rig.host().create_guest(o)) && forked(rig.host().tick({})) && guest.memory().empty();
    ::_exit(all ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  EXPECT_EQ(test::wrong_in(guest, 7), "");
}

TEST_P(SilentZeros, Hazard01_NativeAgainOnlyWhenEveryByteIsHere) {
  NodeRig rig(GetParam(), one_by_one());
  auto& guest = rig.add();
  guest.fill(0, 128, 1);
  const auto unmanage = [&] {
    base::MutexLock lock(guest->control);
    return guest->unmanage();
  };
  rig.park(guest);
  EXPECT_FALSE(unmanage()) << "with parked pages";
  rig.write(guest);
  EXPECT_FALSE(unmanage()) << "with swapped pages";
  EXPECT_EQ(guest.wrong(0, 128, 1), "");
  // All are back: from here the kernel's zeros are right for what was never touched.
  EXPECT_TRUE(test::eventually(unmanage));
  EXPECT_EQ(guest.wrong(0, 128, 1), "");
  EXPECT_TRUE(test::is_zero(guest.at(200)));
  {
    base::MutexLock lock(guest->control);
    ASSERT_TRUE(guest->manage());
  }
  guest.fill(64, 256, 2);
  rig.evict(guest);
  EXPECT_EQ(guest.wrong(0, 64, 1), "");
  EXPECT_EQ(guest.wrong(64, 256, 2), "");
}

TEST_P(SilentZeros, Hazard02_NothingIsTakenFromANativeGuest) {
  NodeRig rig(GetParam());
  test::RigGuestOptions native;
  native.manage = false;
  auto& guest = rig.add(native);
  guest.fill();
  EXPECT_EQ(rig.park(guest), 0u);
  EXPECT_EQ(guest.state(0), PageState::native);
  EXPECT_EQ(test::resident_pages(guest.at(0), 256), 256u);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(SilentZeros, Hazard02_GuestIsManagedBeforeItsPagesLeave) {
  HostRig rig(GetParam(), [](HostOptions& o) { o.management = Management::on_demand; });
  auto guest = rig.add("native", 256);
  test::fill_guest(guest, 3);
  EXPECT_FALSE(guest.stats()->managed);
  EXPECT_EQ(test::smaps_flags(guest.memory().data()).find(" um "), std::string::npos);
  EXPECT_GT(HostRig::reclaim_all(guest), 0u);
  EXPECT_TRUE(guest.stats()->managed);
  EXPECT_NE(test::smaps_flags(guest.memory().data()).find(" um "), std::string::npos) << "registered for missing pages";
  rig.tick();
  ASSERT_EQ(rig.events(EventKind::guest_managed).size(), 1u);
  EXPECT_EQ(rig.events(EventKind::guest_managed)[0].guest, "native");
  EXPECT_EQ(test::wrong_in(guest, 3), "");
}

TEST_P(SilentZeros, Hazard02_FirstTouchesRaceTheChangeToManaged) {
  for (int round = 0; round < 20; ++round) {
    NodeRig rig(GetParam());
    test::RigGuestOptions native;
    native.manage = false;
    native.pages = 2048;
    native.large_pages = round % 2 == 1;
    auto& guest = rig.add(native);
    std::atomic<std::uint64_t> touched{0};
    std::vector<std::thread> writers;
    for (std::uint64_t t = 0; t < 3; ++t)
      writers.emplace_back([&, t] {
        for (std::uint64_t page = t; page < 2048; page += 3, ++touched) guest.fill(page, page + 1, 1);
      });
    EXPECT_TRUE(test::eventually([&] { return touched > 100; }));
    {
      base::MutexLock lock(guest->control);
      ASSERT_TRUE(guest->manage());
    }
    rig.evict(guest);
    for (auto& w : writers) w.join();
    EXPECT_EQ(guest.wrong(), "") << "round " << round;
    rig.evict(guest);
    EXPECT_EQ(guest.wrong(), "") << "round " << round;
    rig.settle(guest);
    EXPECT_EQ(guest->counters.resident.load(), test::resident_pages(guest.at(0), 2048));
  }
}

}  // namespace
}  // namespace vmm
