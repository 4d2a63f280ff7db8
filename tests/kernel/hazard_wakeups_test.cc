// Hazards 4, 14, 15 (one range over two mappings), 16, 17 and 18b: whoever waits for a page is woken, and gets it.
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "os/file.h"
#include "reclaim/discard.h"
#include "support/call_hook.h"
#include "support/eventually.h"
#include "support/guarded_access.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"
#include "support/sanitizer.h"

namespace vmm {
namespace {

using region::PageState;
using test::CallHook;
using test::CatchSignals;
using test::eventually;
using test::NodeRig;
using test::RigGuest;
using test::try_read;
using test::try_write;

class WakeUps : public test::BackEnds {};
VMM_ALL_BACK_ENDS(WakeUps);

std::uint64_t waiting(RigGuest& guest) { return test::waiting_faults(guest->uffd().fd()); }

// A page put in its place behind the library's back, without waking anybody.
void copy_quietly(RigGuest& guest, std::uint64_t page, const std::byte* from) {
  uffdio_copy c{};
  c.dst = reinterpret_cast<std::uintptr_t>(guest.at(page));
  c.src = reinterpret_cast<std::uintptr_t>(from);
  c.len = kPageSize;
  c.mode = UFFDIO_COPY_MODE_DONTWAKE;
  ASSERT_EQ(::ioctl(guest->uffd().fd(), UFFDIO_COPY, &c), 0) << errno;
}

// Markers in empty places (they arise only where the kernel tracks writes by itself): whatever the page's state, the
// next access gets its bytes and does not wait for ever.
TEST_P(WakeUps, Hazard04_MarkersInEmptyPlacesKeepNobodyWaiting) {
  for (const bool large : {false, true}) {
    test::RigOptions options;
    options.zero_pool = large;
    options.roomy_free_pages = large ? 0 : ~std::uint64_t{0};
    NodeRig rig(GetParam(), options);
    test::RigGuestOptions guest_options;
    guest_options.pages = 1536;
    guest_options.large_pages = large;
    auto& guest = rig.add(guest_options);
    guest.fill(0, 512, 1);
    rig.evict(guest);
    guest.fill(512, 768, 1);
    rig.park(guest);
    guest.fill(768, 1024, 1);
    rig.settle(guest);
    ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 768, 256));
    // 0-511 swapped, 512-767 parked, 768-1023 discarded, 1024-1535 never touched.
    if (rig.zero_pool() != nullptr) {
      EXPECT_TRUE(rig.zero_pool()->refill());
    }
    ASSERT_EQ(guest->uffd().write_protect(guest.at(0), 1536 * kPageSize, true), 0);
    for (std::uint64_t page = 1024; page < 1536; page += 2) ASSERT_EQ(try_read(guest.at(page)).value, 0u);
    guest.fill(1025, 1026, 2);
    EXPECT_EQ(guest.wrong(1025, 1026, 2), "");
    for (std::uint64_t page = 768; page < 1024; page += 2) ASSERT_TRUE(test::is_zero(guest.at(page)));
    guest.fill(769, 770, 2);
    EXPECT_EQ(guest.wrong(769, 770, 2), "");
    EXPECT_EQ(guest.wrong(0, 768, 1), "");
    guest.fill(0, 768, 3);
    rig.evict(guest);
    EXPECT_EQ(guest.wrong(0, 768, 3), "");
  }
}

TEST_P(WakeUps, Hazard04_OnlyPresentPagesAreArmed) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  for (std::uint64_t page = 0; page < 256; page += 2) guest.fill(page, page + 1, 1);
  rig.settle(guest);
  // Without PAGEMAP_SCAN nothing is armed at all.
  std::vector<std::uint8_t> bits(256);
  ASSERT_EQ(rig.pagemap().arm_written(guest.at(0), 256, bits.data()), rig.moves() ? 0 : ENOTTY);
  ASSERT_EQ(rig.pagemap().bits_from_pagemap(guest.at(0), 256, bits.data()), 0);
  for (std::uint64_t page = 0; page < 256; ++page) ASSERT_FALSE(bits[page] & os::kMarker) << page;
  for (std::uint64_t page = 1; page < 256; page += 2) guest.fill(page, page + 1, 1);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(WakeUps, Hazard14_WhoLostTheRaceWithoutAWakeIsWoken) {
  CallHook hook;
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  std::vector<std::byte> bytes(kPageSize);
  for (const bool write : {false, true}) {
    const std::uint64_t page = write ? 10 : 50;
    test::fill_page(bytes.data(), guest->id(), page, 4);
    hook.hold(write ? os::Call::uffd_copy : os::Call::uffd_zeropage, "vmm-fault");
    std::thread waiter([&] {
      if (write)
        try_write(guest.at(page), guest->id());
      else
        try_read(guest.at(page));
    });
    ASSERT_TRUE(eventually([&] { return hook.held() == 1; }));
    copy_quietly(guest, page, bytes.data());
    hook.release();
    waiter.join();
    EXPECT_EQ(guest.wrong(page, page + 1, 4), "") << "the winner's bytes stay";
  }
}

// A page that is there already stops a run in its middle; those behind it, and their waiters, are not forgotten.
TEST_P(WakeUps, Hazard14_RunThatIsStoppedInItsMiddleForgetsNobody) {
  CallHook hook;
  test::RigOptions options;
  options.roomy_free_pages = 0;  // runs of 16
  NodeRig rig(GetParam(), options);
  auto& guest = rig.add();
  std::vector<std::byte> bytes(kPageSize);
  test::fill_page(bytes.data(), guest->id(), 37, 4);
  hook.hold(os::Call::uffd_copy, "vmm-fault");
  std::vector<std::thread> waiters;
  for (std::uint64_t page = 32; page < 48; ++page) {
    waiters.emplace_back([&, page] {
      if (page != 37)
        guest.fill(page, page + 1, 1);
      else
        try_read(guest.at(page));
    });
    // A write comes first: a read would be answered by the kernel's zero page.
    ASSERT_TRUE(eventually([&] { return hook.held() == 1; }));
  }
  ASSERT_TRUE(eventually([&] { return waiting(guest) == 16; }));
  copy_quietly(guest, 37, bytes.data());
  hook.release();
  for (auto& w : waiters) w.join();
  EXPECT_EQ(guest.wrong(32, 37, 1), "");
  EXPECT_EQ(guest.wrong(37, 38, 4), "");
  EXPECT_EQ(guest.wrong(38, 48, 1), "");
}

TEST_P(WakeUps, Hazard14_KernelThatAsksToTryAgainIsAskedAgain) {
  for (const auto call : {os::Call::uffd_copy, os::Call::uffd_zeropage, os::Call::uffd_move}) {
    SCOPED_TRACE(os::to_string(call));
    NodeRig rig(GetParam());
    auto& guest = rig.add();
    guest.fill(0, 64, 1);
    rig.evict(guest);
    guest.fill(64, 128, 1);
    rig.park(guest);
    CallHook hook;
    // More often than one answer tries by itself.
    hook.fail(call, EAGAIN, 200, "vmm-fault");
    EXPECT_TRUE(test::is_zero(guest.at(200)));
    guest.fill(129, 130, 1);
    EXPECT_EQ(guest.wrong(0, 128, 1), "");
    EXPECT_EQ(guest.wrong(129, 130, 1), "");
  }
}

TEST_P(WakeUps, Hazard14_DeferredFaultsAreAnsweredWhenTheirReasonEnds) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  // A page that somebody works on.
  const auto word = guest->table.lock(5);
  std::thread locked_out([&] { guest.fill(5, 6, 1); });
  ASSERT_TRUE(eventually([&] { return waiting(guest) == 1; }));
  guest->table.unlock(5, word);
  guest->table.released();
  locked_out.join();
  // No memory.
  std::uint64_t taken = 0;
  while (rig.credit().try_charge(1)) ++taken;
  std::vector<std::thread> starving;
  for (std::uint64_t page = 100; page < 140; ++page)
    starving.emplace_back([&, page] { guest.fill(page, page + 1, 1); });
  ASSERT_TRUE(eventually([&] { return waiting(guest) == 40 && guest->counters.stalls.load() >= 1; }));
  EXPECT_GT(rig.memory_wanted_calls(), 0u);
  rig.credit().release(taken);
  for (auto& s : starving) s.join();
  EXPECT_EQ(guest.wrong(100, 140, 1), "");
}

// An application may advise about a part of its guest, which splits the kernel's mapping.
TEST_P(WakeUps, Hazard15_RangesOverTwoMappingsAreFilledTakenAndReturned) {
  test::RigOptions options;
  options.roomy_free_pages = 0;
  NodeRig rig(GetParam(), options);
  test::RigGuestOptions guest_options;
  guest_options.pages = 512;
  auto& guest = rig.add(guest_options);
  for (const std::uint64_t page : {5u, 70u, 75u, 131u, 200u, 333u}) {
    ASSERT_EQ(::madvise(guest.at(page), 3 * kPageSize, MADV_HUGEPAGE), 0);
    ASSERT_EQ(::madvise(guest.at(page), 3 * kPageSize, MADV_SEQUENTIAL), 0);
  }
  EXPECT_GT(test::mappings_in(guest.at(0), 512 * kPageSize), 6u);
  guest.fill(0, 128, 1);                                             // in growing runs
  for (std::uint64_t page = 511; page >= 128; --page) guest.fill(page, page + 1, 1);  // in aligned blocks
  EXPECT_EQ(rig.park(guest), 512u);
  EXPECT_EQ(guest.wrong(0, 256, 1), "") << "rescue";
  rig.evict(guest);
  EXPECT_EQ(guest->counters.resident.load(), 0u);
  EXPECT_EQ(test::resident_pages(guest.at(0), 512), 0u);
  EXPECT_EQ(guest.wrong(), "") << "swap-in";
  EXPECT_TRUE(rig.notices().empty());
}

std::atomic<int> signals_seen{0};

TEST_P(WakeUps, Hazard16_SignalIsHandledWhileAThreadWaitsForAPage) {
  if (test::kThreadSanitizer) GTEST_SKIP() << "the thread sanitizer runs signal handlers when it sees fit";
  struct sigaction action {}, former {};
  action.sa_handler = [](int) { signals_seen.fetch_add(1); };
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &former), 0);
  signals_seen = 0;
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  const auto word = guest->table.lock(9);
  std::string wrong = "nothing";
  std::thread waiter([&] { wrong = guest.wrong(9, 10, 1); });
  ASSERT_TRUE(eventually([&] { return waiting(guest) == 1; }));
  for (int i = 1; i <= 20; ++i) {
    ASSERT_EQ(::pthread_kill(waiter.native_handle(), SIGUSR1), 0);
    ASSERT_TRUE(eventually([&] { return signals_seen == i; })) << "the handler runs while the page is not there";
  }
  guest->table.unlock(9, word);
  guest->table.released();
  waiter.join();
  EXPECT_EQ(wrong, "");
  ::sigaction(SIGUSR1, &former, nullptr);
}

// In the kernel the thread spins until it is served (documented): it is served, and the call gets all its bytes.
TEST_P(WakeUps, Hazard16_SignalPendingInASystemCallThatWaitsForAPage) {
  if (const auto why = test::unable_in_kernel(); !why.empty()) GTEST_SKIP() << why;
  struct sigaction action {}, former {};
  action.sa_handler = [](int) { signals_seen.fetch_add(1); };
  action.sa_flags = SA_RESTART;
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &former), 0);
  signals_seen = 0;
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  std::array<int, 2> fds{};
  ASSERT_EQ(::pipe2(fds.data(), O_CLOEXEC), 0);
  const os::FileDescriptor out(fds[0]), in(fds[1]);
  const auto word = guest->table.lock(9);
  ssize_t written = -1;
  std::thread waiter([&] { written = ::write(in.get(), guest.at(9), kPageSize); });
  ASSERT_TRUE(eventually([&] { return waiting(guest) == 1; }));
  ASSERT_EQ(::pthread_kill(waiter.native_handle(), SIGUSR1), 0);
  guest->table.unlock(9, word);
  guest->table.released();
  waiter.join();
  EXPECT_EQ(written, static_cast<ssize_t>(kPageSize));
  EXPECT_EQ(signals_seen, 1);
  alignas(8) std::array<std::byte, kPageSize> got;
  ASSERT_EQ(::read(out.get(), got.data(), got.size()), static_cast<ssize_t>(got.size()));
  EXPECT_EQ(test::wrong_page(got.data(), guest->id(), 9, 1), "");
  ::sigaction(SIGUSR1, &former, nullptr);
}

TEST_P(WakeUps, Hazard16_AllSignalsAreBlockedInTheLibrarysThreads) {
  NodeRig rig(GetParam());
  int threads = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream status(task.path() / "status");
    std::string name, line, blocked;
    while (std::getline(status, line)) {
      if (line.rfind("Name:\tvmm-", 0) == 0) name = line.substr(6);
      if (line.rfind("SigBlk:", 0) == 0) blocked = line.substr(8);
    }
    if (name.empty()) continue;
    ++threads;
    // All but SIGKILL, SIGSTOP, which cannot be, and glibc's own two (32, 33).
    EXPECT_EQ(std::stoull(blocked, nullptr, 16) | 1u << 8 | 1u << 18 | 3ULL << 31, ~0ULL) << name << " " << blocked;
  }
  EXPECT_GE(threads, 1);
}

TEST_P(WakeUps, Hazard17_ManyThreadsOnePageOneRead) {
  test::RigOptions options;
  options.batch_pages = 1;
  NodeRig rig(GetParam(), options);
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  for (std::uint64_t page = 3; page < 250; page += 50) {
    CallHook hook;
    hook.hold(os::Call::uffd_read, "vmm-fault");
    std::atomic<int> right{0};
    std::vector<std::thread> readers;
    for (int t = 0; t < 8; ++t)
      readers.emplace_back([&] { right += guest.wrong(page, page + 1, 1).empty() ? 1 : 0; });
    ASSERT_TRUE(eventually([&] { return waiting(guest) == 8; }));
    const auto before = guest->counters.swapped_in.load();
    hook.release();
    for (auto& r : readers) r.join();
    EXPECT_EQ(right, 8);
    rig.settle(guest);
    EXPECT_EQ(hook.count(rig.read_call()), 1u);
    EXPECT_TRUE(eventually([&] { return guest->counters.swapped_in.load() == before + 1; }));
  }
}

TEST_P(WakeUps, Hazard17_PrefetchRacesFaults) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  for (std::uint64_t round = 1; round <= 20; ++round) {
    guest.fill(round);
    rig.evict(guest);
    ASSERT_EQ(guest->counters.resident.load(), 0u);
    std::vector<std::thread> readers;
    std::atomic<int> bad{0};
    for (std::uint64_t t = 0; t < 3; ++t)
      readers.emplace_back([&, t] {
        for (std::uint64_t i = 0; i < 256; ++i) {
          const auto page = (i * 37 + t * 85) % 256;
          bad += guest.wrong(page, page + 1, round).empty() ? 0 : 1;
        }
      });
    EXPECT_TRUE(rig.faults().prefetch(guest.memory(), 0, 256));
    for (auto& r : readers) r.join();
    rig.faults().wait_prefetched(guest.memory());
    rig.settle(guest);
    EXPECT_EQ(bad, 0);
    EXPECT_EQ(guest->counters.resident.load(), 256u);
    EXPECT_EQ(test::resident_pages(guest.at(0), 256), 256u);
    EXPECT_TRUE(eventually([&] { return guest->counters.swapped_in.load() == 256 * round; })) << "each page once";
  }
}

// What wakes by itself is used only where its effect is right: poison for lost bytes, and the return to native only
// where zeros are the page's bytes.
TEST_P(WakeUps, Hazard18b_ReturnToNativeWakesWhoWaitsForAPageOfZeros) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill(0, 64, 1);
  rig.settle(guest);
  CallHook hook;
  hook.hold(os::Call::uffd_zeropage, "vmm-fault");
  test::Access got{-1, 1};
  std::thread waiter([&] { got = try_read(guest.at(100)); });
  ASSERT_TRUE(eventually([&] { return hook.held() == 1; }));
  // The fault thread holds page 100: the return to native waits for it after it has unregistered the range.
  std::thread unmanager([&] {
    base::MutexLock lock(guest->control);
    EXPECT_TRUE(guest->unmanage());
  });
  waiter.join();
  EXPECT_EQ(got.signal, 0);
  EXPECT_EQ(got.value, 0u);
  hook.release();
  unmanager.join();
  EXPECT_EQ(guest.wrong(0, 64, 1), "");
}

TEST_P(WakeUps, Hazard18b_LossWakesAllWhoWaitForThePage) {
  CatchSignals catcher;
  CallHook hook;
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  hook.fail(rig.read_call(), EIO);
  hook.hold(os::Call::uffd_read, "vmm-fault");
  std::atomic<int> signalled{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 8; ++t) readers.emplace_back([&] { signalled += try_read(guest.at(77)).signal != 0 ? 1 : 0; });
  ASSERT_TRUE(eventually([&] { return waiting(guest) == 8; }));
  hook.release();
  for (auto& r : readers) r.join();
  EXPECT_EQ(signalled, 8);
  EXPECT_TRUE(eventually([&] { return guest->counters.lost.load() == 1; }));
}

}  // namespace
}  // namespace vmm
