// Hazards 12, 13 and 18: what a fault thread may not do, what need not wait for it, and who notices when it stands.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "kernel/allocation_watch.h"
#include "reclaim/discard.h"
#include "support/call_hook.h"
#include "support/eventually.h"
#include "support/guarded_access.h"
#include "support/host_rig.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"
#include "support/swap_slots.h"

namespace vmm {
namespace {

using region::PageState;
using test::AllocationWatch;
using test::CallHook;
using test::CatchSignals;
using test::HostRig;
using test::NodeRig;
using test::try_read;

class FaultThread : public test::BackEnds {};
VMM_ALL_BACK_ENDS(FaultThread);

// A fault of each kind, those that have to wait and those that fail included.
void everything(NodeRig& rig, test::RigGuest& guest) {
  guest.fill();                                     // fills, one by one and in runs
  rig.park(guest);
  EXPECT_EQ(guest.wrong(0, 64, 1), "");             // rescues
  rig.write(guest, false);
  EXPECT_EQ(guest.wrong(64, 128, 1), "");           // copies of pages that are being written
  rig.finish();
  rig.evict(guest);
  for (std::uint64_t page = 0; page < 256; page += 7) EXPECT_EQ(guest.wrong(page, page + 1, 1), "");  // single reads
  EXPECT_EQ(guest.wrong(), "");                     // reads ahead
  rig.evict(guest);
  EXPECT_TRUE(rig.faults().prefetch(guest.memory(), 0, 200));
  rig.faults().wait_prefetched(guest.memory());
  rig.evict(guest);
  test::flip_bit(guest.memory(), 9, 9);
  EXPECT_NE(try_read(guest.at(9)).signal, 0);       // a page that is lost
  EXPECT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 9, 1));
  guest.fill(9, 10, 1);
  // A page that somebody works on, and memory that is not there.
  for (const bool lock : {true, false}) {
    const std::uint64_t page = lock ? 3 : 4;
    EXPECT_TRUE(reclaim::discard(guest.memory(), guest.pins(), page, 1));
    std::optional<region::PageWord> word;
    std::uint64_t taken = 0;
    if (lock)
      word = guest->table.lock(page);
    else
      while (rig.credit().try_charge(1)) ++taken;
    std::thread waiter([&] { guest.fill(page, page + 1, 1); });
    EXPECT_TRUE(test::eventually([&] { return test::waiting_faults(guest->uffd().fd()) == 1; }));
    if (lock) {
      guest->table.unlock(page, *word);
      guest->table.released();
    } else {
      EXPECT_TRUE(test::eventually([&] { return guest->counters.stalls.load() > 0; }));
      rig.credit().release(taken);
    }
    waiter.join();
  }
  rig.evict(guest);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(FaultThread, Hazard12_AllocatesAndFreesNothing) {
  CatchSignals catcher;
  test::RigOptions options;
  options.budget_pages = 8192;
  options.roomy_free_pages = 0;
  options.zero_pool = true;
  NodeRig rig(GetParam(), options);
  auto& guest = rig.add();
  test::RigGuestOptions large;
  large.pages = 1024;
  large.large_pages = true;
  auto& huge = rig.add(large);
  if (rig.zero_pool() != nullptr) {
    EXPECT_TRUE(rig.zero_pool()->refill());
  }
  AllocationWatch watch("vmm-fault");
  everything(rig, guest);
  huge.fill();
  rig.evict(huge);
  EXPECT_EQ(huge.wrong(), "");
  EXPECT_EQ(watch.allocations(), 0u);
  EXPECT_EQ(watch.frees(), 0u);
  EXPECT_GT(guest->counters.faults.load(), 100u);
}

// The mutexes that may be held while guest memory is touched: were one of them taken by the fault thread, it and its
// holder would wait for each other.
TEST_P(FaultThread, Hazard12_AnswersWhileEveryMutexOfTheGuestIsHeld) {
  test::RigOptions options;
  options.batch_pages = 1;
  NodeRig rig(GetParam(), options);
  auto& guest = rig.add();
  guest.fill(0, 128, 1);
  rig.evict(guest);
  EXPECT_EQ(guest.wrong(0, 64, 1), "");
  rig.park(guest);
  base::MutexLock control(guest->control);
  base::MutexLock pins(guest.pins().mutex());
  EXPECT_EQ(guest.wrong(0, 64, 1), "") << "rescues";
  EXPECT_EQ(guest.wrong(64, 128, 1), "") << "swap-in";
  EXPECT_TRUE(test::is_zero(guest.at(200))) << "fill";
}

TEST_P(FaultThread, Hazard13_NoEventsThatWaitForTheirReader) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  // UFFD_FEATURE_EVENT_FORK, _REMOVE, _UNMAP. That mappings are moved (_REMAP) is asked for: the library moves some, by
  // threads that the fault thread never waits for.
  constexpr std::uint64_t kEvents = 1u << 1 | 1u << 3 | 1u << 6, kRemap = 1u << 2;
  const auto features = test::userfaultfd_features(guest->uffd().fd());
  EXPECT_EQ(features & (kEvents | kRemap), kRemap);
  if (rig.moves()) {
    EXPECT_EQ(test::userfaultfd_features(guest->staging_uffd().fd()) & (kEvents | kRemap), 0u);
  }
}

TEST_P(FaultThread, Hazard13_DiscardMadviseForkAndUnmapNeedNoFaultThread) {
  CallHook hook;
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill(0, 128, 1);
  rig.settle(guest);
  hook.hold(os::Call::uffd_read, "vmm-fault");
  std::thread waiter([&] { guest.fill(200, 201, 1); });
  ASSERT_TRUE(test::eventually([&] { return hook.held() == 1; }));
  EXPECT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 0, 64));
  EXPECT_EQ(::madvise(guest.at(64), 32 * kPageSize, MADV_DONTNEED), 0);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  void* memory = ::mmap(nullptr, MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  EXPECT_NE(memory, MAP_FAILED);
  EXPECT_EQ(::munmap(memory, MiB), 0);
  EXPECT_EQ(guest.wrong(96, 128, 1), "");
  hook.release();
  waiter.join();
  for (std::uint64_t page = 0; page < 96; ++page) EXPECT_TRUE(test::is_zero(guest.at(page))) << page;
  EXPECT_EQ(guest.wrong(200, 201, 1), "");
}

// The fault thread stands before it puts page 7 in place: zeros, or what was read from the swap file.
void expect_report_of_standing_thread(const test::Way& way, bool swapped) {
  HostRig rig(way, [](HostOptions& o) { o.watchdog_timeout = std::chrono::seconds(10); });
  auto guest = rig.add("stuck", 64);
  CallHook hook;  // goes first: a guest's end waits for who is held
  test::fill_guest(guest, 1);
  ASSERT_TRUE(HostRig::reclaim_down_to(guest, 0));
  rig.tick();
  hook.hold(os::Call::uffd_copy, "vmm-fault");
  if (!swapped) {
    ASSERT_TRUE(guest.discard(7 * kPageSize, kPageSize));
  }
  std::string wrong = "nothing";
  std::thread writer([&] { test::fill_page(test::page_at(guest, 7), 1, 7, 1); });
  ASSERT_TRUE(test::eventually([&] { return hook.held() == 1; }));
  std::thread reader([&] { wrong = test::wrong_page(test::page_at(guest, 8), 1, 8, 1); });
  rig.tick(std::chrono::seconds(1));
  rig.tick(std::chrono::seconds(5));
  EXPECT_EQ(rig.events(EventKind::fault_stalled).size(), 0u);
  rig.tick(std::chrono::seconds(6));
  rig.tick(std::chrono::seconds(20));
  const auto events = rig.events(EventKind::fault_stalled);
  EXPECT_EQ(events.size(), 1u) << "once for a stall";
  if (!events.empty()) {
    char address[32];
    std::snprintf(address, sizeof address, "%#llx",
                  static_cast<unsigned long long>(reinterpret_cast<std::uintptr_t>(test::page_at(guest, 7))));
    EXPECT_EQ(events[0].guest, "stuck");
    EXPECT_NE(events[0].reason.find("vmm-fault/0"), std::string::npos) << events[0].reason;
    EXPECT_NE(events[0].reason.find(address), std::string::npos) << events[0].reason << " without " << address;
  }
  hook.release();
  writer.join();
  reader.join();
  EXPECT_EQ(wrong, "");
  EXPECT_EQ(test::wrong_in(guest, 1), "");
  // Progress again: the next stall would be a new one.
  rig.tick(std::chrono::seconds(60));
  EXPECT_EQ(rig.events(EventKind::fault_stalled).size(), 1u);
}

// Whether two reads come at once, so that the helper is called, is the device's matter: tried until they do.
TEST_P(FaultThread, Hazard18_StandingHelperIsReportedByName) {
  constexpr std::uint64_t kPages = 2048;
  HostRig rig(GetParam(), [](HostOptions& o) { o.watchdog_timeout = std::chrono::seconds(10); });
  auto guest = rig.add("stuck", kPages);
  CallHook hook;
  test::fill_guest(guest, 1);
  hook.hold(os::Call::uffd_copy, "vmm-place");
  ASSERT_TRUE(test::eventually([&] {
    EXPECT_TRUE(HostRig::reclaim_down_to(guest, 0));
    EXPECT_TRUE(guest.prefetch(0, kPages * kPageSize));
    return test::eventually([&] { return hook.held() == 1 || guest.stats()->swapped == 0; }) && hook.held() == 1;
  })) << "the fault thread has copied everything by itself";
  rig.tick(std::chrono::seconds(1));
  rig.tick(std::chrono::seconds(11));
  rig.tick(std::chrono::seconds(20));
  // The fault thread may be at work on the rest still, which half a minute of this clock takes for a stall as well.
  auto events = rig.events(EventKind::fault_stalled);
  std::erase_if(events, [](const Event& e) { return e.reason.find("vmm-place/0") == std::string::npos; });
  ASSERT_EQ(events.size(), 1u) << "once for a stall";
  EXPECT_EQ(events[0].guest, "stuck");
  hook.release();
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

TEST_P(FaultThread, Hazard18_StandingFaultThreadIsReportedByNameAndAddress) {
  expect_report_of_standing_thread(GetParam(), false);
}

TEST_P(FaultThread, Hazard18_StandingSwapInIsReportedByNameAndAddress) {
  expect_report_of_standing_thread(GetParam(), true);
}

}  // namespace
}  // namespace vmm
