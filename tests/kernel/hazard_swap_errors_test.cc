// Hazards 9 and 10: a page that cannot be read back is lost alone and never zero; one that cannot be written stays.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "reclaim/discard.h"
#include "support/call_hook.h"
#include "support/eventually.h"
#include "support/guarded_access.h"
#include "support/host_rig.h"
#include "support/node_rig.h"
#include "support/swap_slots.h"

namespace vmm {
namespace {

using region::Notice;
using region::PageState;
using test::CallHook;
using test::CatchSignals;
using test::HostRig;
using test::NodeRig;
using test::RigGuest;
using test::try_read;

class SwapErrors : public test::BackEnds {};
VMM_ALL_BACK_ENDS(SwapErrors);

constexpr std::uint64_t kBad = 20;

// SIGBUS where the kernel can poison a page (Linux 6.6), before that SIGSEGV.
int signal_of_lost_page() { return probe().has("poison") ? SIGBUS : SIGSEGV; }

struct Damage {
  const char* name;
  void (*make)(NodeRig&, RigGuest&);
};

const Damage kDamages[] = {
    {"bit flip", [](NodeRig&, RigGuest& g) { test::flip_bit(g.memory(), kBad, 12345); }},
    {"torn page",
     [](NodeRig& rig, RigGuest& g) {
       // The second half is of the page's version before.
       const auto before = test::read_slot(g.memory(), kBad);
       g.fill(kBad, kBad + 1, 2);
       rig.evict(g);
       auto torn = test::read_slot(g.memory(), kBad);
       std::copy(before.begin() + kPageSize / 2, before.end(), torn.begin() + kPageSize / 2);
       test::write_slot(g.memory(), kBad, torn);
     }},
    {"another page's bytes",
     [](NodeRig&, RigGuest& g) { test::write_slot(g.memory(), kBad, test::read_slot(g.memory(), kBad + 2)); }},
    {"another guest's bytes",
     [](NodeRig& rig, RigGuest& g) {
       auto& other = rig.add();
       other.fill();
       rig.evict(other);
       test::write_slot(g.memory(), kBad, test::read_slot(other.memory(), kBad));
     }},
    {"an old version of the page",
     [](NodeRig& rig, RigGuest& g) {
       const auto before = test::read_slot(g.memory(), kBad);
       g.fill(kBad, kBad + 1, 2);
       rig.evict(g);
       test::write_slot(g.memory(), kBad, before);
     }},
    {"zeros", [](NodeRig&, RigGuest& g) { test::write_slot(g.memory(), kBad, std::vector<std::byte>(kPageSize)); }},
};

TEST_P(SwapErrors, Hazard09_DamagedPageIsLostAloneAndNeverZero) {
  CatchSignals catcher;
  for (const auto& damage : kDamages) {
    SCOPED_TRACE(damage.name);
    NodeRig rig(GetParam());
    auto& guest = rig.add();
    guest.fill();
    rig.evict(guest);
    damage.make(rig, guest);
    rig.evict(guest);
    // Reading upwards, so that the bad page also comes up in what is read ahead.
    EXPECT_EQ(guest.wrong(0, kBad, 1), "");
    EXPECT_EQ(try_read(guest.at(kBad)).signal, signal_of_lost_page());
    EXPECT_EQ(try_read(guest.at(kBad)).signal, signal_of_lost_page()) << "the second reader";
    EXPECT_EQ(guest.wrong(kBad + 1, 256, 1), "");
    EXPECT_EQ(guest.state(kBad), PageState::lost);
    // The reader has its signal before the rest is told.
    std::vector<Notice> notices;
    EXPECT_TRUE(test::eventually([&] {
      for (const auto& n : rig.notices()) notices.push_back(n);
      return !notices.empty();
    }));
    ASSERT_EQ(notices.size(), 1u);
    EXPECT_EQ(guest->counters.lost.load(), 1u);
    EXPECT_EQ(notices[0].kind, Notice::kSwapReadFailed);
    EXPECT_EQ(notices[0].guest, guest->id());
    EXPECT_EQ(notices[0].value, kBad);
    // Neither a pin nor a system call gets at bytes that are not there.
    const auto pin = guest.pins().pin(kBad - 1, 3, 256);
    ASSERT_FALSE(pin);
    EXPECT_EQ(pin.error().code, Errc::page_lost);
    EXPECT_EQ(guest->counters.pinned.load(), 0u);
    // Discard gives zeros, and the page can be used again.
    ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), kBad, 1));
    EXPECT_TRUE(test::is_zero(guest.at(kBad)));
    guest.fill(kBad, kBad + 1, 7);
    rig.evict(guest);
    EXPECT_EQ(guest.wrong(kBad, kBad + 1, 7), "");
    EXPECT_EQ(guest->counters.lost.load(), 0u);
  }
}

TEST_P(SwapErrors, Hazard09_ShortReadIsAnErrorNeverZeroFill) {
  CatchSignals catcher;
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  ASSERT_EQ(guest->table.load(255).slot(), 255u);
  const auto fd = test::reopen_swap_file(guest.memory());
  ASSERT_EQ(::ftruncate(fd.get(), 200 * kPageSize + 100), 0);
  EXPECT_EQ(guest.wrong(0, 200, 1), "");
  for (std::uint64_t page = 200; page < 256; ++page)
    EXPECT_EQ(try_read(guest.at(page)).signal, signal_of_lost_page()) << page;
  EXPECT_TRUE(test::eventually([&] { return guest->counters.lost.load() == 56; }));
}

TEST_P(SwapErrors, Hazard09_PassingReadErrorIsTriedAgain) {
  CatchSignals catcher;
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  CallHook hook;
  hook.fail(rig.read_call(), EIO, 2);
  EXPECT_EQ(guest.wrong(), "");
  EXPECT_EQ(guest->counters.lost.load(), 0u);
  EXPECT_GT(guest->counters.swap_errors.load(), 0u);
}

TEST_P(SwapErrors, Hazard09_LastingReadErrorLosesOnlyWhatIsRead) {
  CatchSignals catcher;
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  {
    CallHook hook;
    hook.fail(rig.read_call(), EIO);
    EXPECT_EQ(try_read(guest.at(7)).signal, signal_of_lost_page());
    EXPECT_EQ(try_read(guest.at(8)).signal, signal_of_lost_page());
    rig.settle(guest);
  }
  EXPECT_EQ(guest.wrong(0, 7, 1), "");
  EXPECT_EQ(guest.wrong(9, 256, 1), "");
  EXPECT_TRUE(test::eventually([&] { return guest->counters.lost.load() == 2; }));
}

TEST_P(SwapErrors, Hazard09_HostTellsWhichPageIsLost) {
  CatchSignals catcher;
  HostRig rig(GetParam());
  auto guest = rig.add("victim", 64);
  auto other = rig.add("other", 64);
  test::fill_guest(guest, 1);
  test::fill_guest(other, 2);
  ASSERT_TRUE(HostRig::reclaim_down_to(guest, 0));
  ASSERT_TRUE(HostRig::reclaim_down_to(other, 0));
  test::flip_bit(stress::memory_of(guest), 5, 1);
  // One thread waits in a system call.
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const os::FileDescriptor out(pipe[0]), in(pipe[1]);
  EXPECT_EQ(::write(in.get(), test::page_at(guest, 5), kPageSize), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(try_read(test::page_at(guest, 5)).signal, signal_of_lost_page());
  EXPECT_TRUE(test::eventually([&] {
    rig.tick();
    return !rig.events(EventKind::swap_read_failed).empty();
  }));
  EXPECT_EQ(guest.stats()->lost, kPageSize);
  const auto events = rig.events(EventKind::swap_read_failed);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].guest, "victim");
  EXPECT_NE(events[0].reason.find("page 5:"), std::string::npos) << events[0].reason;
  EXPECT_EQ(test::wrong_in(other, 2), "");
  for (std::uint64_t page = 0; page < 64; ++page) {
    if (page == 5) continue;
    EXPECT_EQ(test::wrong_page(test::page_at(guest, page), 1, page, 1), "");
  }
  ASSERT_TRUE(guest.discard(5 * kPageSize, kPageSize));
  EXPECT_TRUE(test::is_zero(test::page_at(guest, 5)));
}

TEST_P(SwapErrors, Hazard10_PagesStayWhereTheFileCannotBeWritten) {
  for (const int error : {EIO, ENOSPC, EDQUOT}) {
    SCOPED_TRACE(error);
    NodeRig rig(GetParam());
    auto& guest = rig.add();
    guest.fill();
    {
      CallHook hook;
      hook.fail(rig.write_call(), error);
      rig.evict(guest);
    }
    EXPECT_EQ(guest->counters.resident.load(), 256u);
    EXPECT_EQ(guest->counters.swapped.load(), 0u);
    EXPECT_EQ(guest->counters.staging.load(), 0u);
    EXPECT_EQ(guest.store().slots.in_use(), 0u);
    EXPECT_TRUE(guest.store().failed());
    EXPECT_EQ(guest.wrong(), "");
    const auto notices = rig.notices();
    ASSERT_EQ(notices.size(), 1u);
    EXPECT_EQ(notices[0].kind, Notice::kSwapWriteFailed);
    EXPECT_EQ(notices[0].error, error);
    // The timeout has passed: the next try succeeds, and says so.
    rig.evict(guest);
    EXPECT_EQ(guest->counters.resident.load(), 0u);
    EXPECT_FALSE(guest.store().failed());
    const auto recovered = rig.notices();
    ASSERT_EQ(recovered.size(), 1u);
    EXPECT_EQ(recovered[0].kind, Notice::kSwapRecovered);
    EXPECT_EQ(guest.wrong(), "");
  }
}

TEST_P(SwapErrors, Hazard10_FailedFileIsLeftAloneUntilItsTime) {
  test::RigOptions options;
  options.retry_timeout = std::chrono::seconds(300);
  NodeRig rig(GetParam(), options);
  auto& guest = rig.add();
  guest.fill();
  CallHook hook;
  hook.fail(rig.write_call(), EIO);
  rig.evict(guest);
  ASSERT_TRUE(guest.store().failed());
  ASSERT_EQ(guest->counters.resident.load(), 256u);
  hook.fail(rig.write_call(), 0, 0);
  const auto writes = hook.count(rig.write_call());
  for (const int seconds : {0, 299}) {
    rig.set_now(rig.now() + std::chrono::seconds(seconds));
    EXPECT_EQ(rig.park(guest), 0u) << "parking would only cost rescues";
    rig.evict(guest);
    EXPECT_EQ(guest->counters.resident.load(), 256u);
    EXPECT_EQ(hook.count(rig.write_call()), writes) << "it is not even tried";
  }
  rig.set_now(rig.now() + std::chrono::seconds(2));
  rig.evict(guest);
  EXPECT_EQ(guest->counters.resident.load(), 0u);
  EXPECT_FALSE(guest.store().failed());
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(SwapErrors, Hazard10_PassingWriteErrorIsTriedAgain) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  CallHook hook;
  hook.fail(rig.write_call(), EAGAIN, 2);
  rig.evict(guest);
  EXPECT_EQ(guest->counters.resident.load(), 0u);
  EXPECT_TRUE(rig.notices().empty());
  EXPECT_EQ(guest.wrong(), "");
}

// A page that is rescued and written anew while its old bytes are on their way out keeps the new ones.
TEST_P(SwapErrors, Hazard10_PageWrittenDuringItsWriteKeepsTheNewBytes) {
  for (const int error : {0, EIO}) {
    SCOPED_TRACE(error);
    NodeRig rig(GetParam());
    auto& guest = rig.add();
    guest.fill();
    CallHook hook;
    hook.fail(rig.write_call(), error, error == 0 ? 0 : CallHook::kAlways);
    rig.park(guest);
    rig.write(guest, false);
    for (std::uint64_t page = 0; page < 256; page += 2) guest.fill(page, page + 1, 2);
    rig.finish();
    hook.fail(rig.write_call(), 0, 0);
    const auto check = [&] {
      for (std::uint64_t page = 0; page < 256; page += 2) EXPECT_EQ(guest.wrong(page, page + 1, 2), "");
      for (std::uint64_t page = 1; page < 256; page += 2) EXPECT_EQ(guest.wrong(page, page + 1, 1), "");
    };
    check();
    rig.evict(guest);
    EXPECT_EQ(guest->counters.resident.load(), 0u);
    EXPECT_EQ(guest.store().slots.in_use(), 256u);
    check();
  }
}

TEST_P(SwapErrors, Hazard10_HostTellsOfFailureAndRecovery) {
  HostRig rig(GetParam());
  auto guest = rig.add("full", 64);
  test::fill_guest(guest, 1);
  {
    CallHook hook;
    hook.fail(GetParam().swap_io == SwapIo::io_uring ? os::Call::uring_write : os::Call::pwrite, ENOSPC);
    const auto freed = guest.reclaim(64 * kPageSize);
    ASSERT_TRUE(freed);
    EXPECT_EQ(*freed, 0u);
  }
  EXPECT_TRUE(guest.stats()->swap_failed);
  EXPECT_EQ(guest.stats()->resident, 64 * kPageSize);
  EXPECT_EQ(guest.stats()->swapped, 0u);
  rig.tick();
  ASSERT_EQ(rig.events(EventKind::swap_write_failed).size(), 1u);
  EXPECT_EQ(rig.events(EventKind::swap_write_failed)[0].guest, "full");
  EXPECT_EQ(test::wrong_in(guest, 1), "");
  ASSERT_TRUE(HostRig::reclaim_down_to(guest, 0));
  EXPECT_FALSE(guest.stats()->swap_failed);
  rig.tick();
  EXPECT_EQ(rig.events(EventKind::swap_recovered).size(), 1u);
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

}  // namespace
}  // namespace vmm
