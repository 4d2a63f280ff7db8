// Hazard 11: discarded pages read as zero in every page state, and a raw MADV_DONTNEED never hangs anybody.
#include <sys/mman.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "reclaim/discard.h"
#include "support/eventually.h"
#include "support/guarded_access.h"
#include "support/host_rig.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"
#include "support/swap_slots.h"

namespace vmm {
namespace {

using region::PageState;
using test::CatchSignals;
using test::HostRig;
using test::NodeRig;
using test::RigGuest;
using test::try_read;

class Discards : public test::BackEnds {};
VMM_ALL_BACK_ENDS(Discards);

test::RigOptions one_by_one() {
  test::RigOptions o;
  o.batch_pages = 1;
  return o;
}

void read_all(RigGuest& guest, std::uint64_t first, std::uint64_t end) {
  for (auto page = first; page < end; ++page) EXPECT_EQ(try_read(guest.at(page)).signal, 0);
}

struct Case {
  const char* name;
  // Brings pages 64-127 of a filled guest of 192 into the state.
  void (*make)(NodeRig&, RigGuest&);
};

const Case kCases[] = {
    {"resident", [](NodeRig&, RigGuest&) {}},
    {"parked", [](NodeRig& rig, RigGuest& guest) { rig.park(guest); }},
    {"being written",
     [](NodeRig& rig, RigGuest& guest) {
       rig.park(guest);
       rig.write(guest, false);
     }},
    {"rescued while being written",
     [](NodeRig& rig, RigGuest& guest) {
       rig.park(guest);
       rig.write(guest, false);
       read_all(guest, 64, 128);
       EXPECT_EQ(guest.state(64), PageState::resident);
     }},
    {"swapped", [](NodeRig& rig, RigGuest& guest) { rig.evict(guest); }},
    {"clean, with a slot",
     [](NodeRig& rig, RigGuest& guest) {
       rig.evict(guest);
       read_all(guest, 64, 128);
       EXPECT_TRUE(guest->table.load(64).has_slot());
     }},
    {"lost",
     [](NodeRig& rig, RigGuest& guest) {
       rig.evict(guest);
       for (std::uint64_t page = 64; page < 128; ++page) test::flip_bit(guest.memory(), page, page);
       for (std::uint64_t page = 64; page < 128; ++page) EXPECT_NE(try_read(guest.at(page)).signal, 0);
       EXPECT_EQ(guest.state(64), PageState::lost);
     }},
    {"discarded before",
     [](NodeRig&, RigGuest& guest) { ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 64, 64)); }},
};

TEST_P(Discards, Hazard11_DiscardedPagesAreZeroInEveryState) {
  CatchSignals catcher;
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    NodeRig rig(GetParam(), one_by_one());
    test::RigGuestOptions options;
    options.pages = 192;
    auto& guest = rig.add(options);
    guest.fill();
    c.make(rig, guest);
    ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 64, 64));
    for (std::uint64_t page = 64; page < 128; ++page) ASSERT_EQ(guest.state(page), PageState::empty) << page;
    EXPECT_EQ(test::resident_pages(guest.at(64), 64), 0u);
    // Read before the writes that are in flight have ended, then written.
    for (std::uint64_t page = 64; page < 96; ++page) EXPECT_TRUE(test::is_zero(guest.at(page))) << page;
    guest.fill(96, 128, 2);
    rig.finish();
    EXPECT_EQ(guest.wrong(96, 128, 2), "");
    EXPECT_EQ(guest.wrong(0, 64, 1), "");
    EXPECT_EQ(guest.wrong(128, 192, 1), "");
    // Neither memory nor swap is kept for what was discarded.
    rig.settle(guest);
    EXPECT_EQ(test::resident_pages(guest->staged(64), 64), 0u);
    rig.evict(guest);
    EXPECT_EQ(guest.store().slots.in_use(), 160u);
    EXPECT_EQ(guest->counters.resident.load(), 0u);
    EXPECT_EQ(guest->counters.lost.load(), 0u);
    EXPECT_EQ(guest->counters.swapped.load(), 160u);
    for (std::uint64_t page = 64; page < 96; ++page) EXPECT_TRUE(test::is_zero(guest.at(page))) << page;
    EXPECT_EQ(guest.wrong(96, 128, 2), "");
    EXPECT_EQ(guest.wrong(128, 192, 1), "");
  }
}

TEST_P(Discards, Hazard11_DiscardOfANativeGuest) {
  HostRig rig(GetParam(), [](HostOptions& o) { o.management = Management::on_demand; });
  auto guest = rig.add("native", 64);
  test::fill_guest(guest, 1);
  ASSERT_TRUE(guest.discard(8 * kPageSize, 8 * kPageSize));
  EXPECT_EQ(test::resident_pages(test::page_at(guest, 8), 8), 0u);
  EXPECT_TRUE(test::is_zero(test::page_at(guest, 8)));
  EXPECT_FALSE(guest.stats()->managed);
  // What was discarded, and what was then touched again, is the guest's also after it has become managed.
  test::fill_page(test::page_at(guest, 9), 1, 9, 2);
  HostRig::reclaim_all(guest);
  EXPECT_TRUE(test::is_zero(test::page_at(guest, 8)));
  EXPECT_EQ(test::wrong_page(test::page_at(guest, 9), 1, 9, 2), "");
  EXPECT_EQ(test::wrong_page(test::page_at(guest, 20), 1, 20, 1), "");
}

TEST_P(Discards, Hazard11_RawDontneedOnAResidentPageGivesZeros) {
  NodeRig rig(GetParam(), one_by_one());
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  read_all(guest, 0, 64);        // clean and write-protected, with slots
  guest.fill(64, 128, 2);        // read and then written
  ASSERT_EQ(::madvise(guest.at(0), 128 * kPageSize, MADV_DONTNEED), 0);
  for (std::uint64_t page = 0; page < 128; page += 2) EXPECT_TRUE(test::is_zero(guest.at(page))) << page;
  for (std::uint64_t page = 1; page < 128; page += 2) guest.fill(page, page + 1, 3);
  rig.evict(guest);
  for (std::uint64_t page = 0; page < 128; page += 2) EXPECT_TRUE(test::is_zero(guest.at(page))) << page;
  for (std::uint64_t page = 1; page < 128; page += 2) EXPECT_EQ(guest.wrong(page, page + 1, 3), "");
  EXPECT_EQ(guest.wrong(128, 256, 1), "");
}

// Unsupported, as guest.h says, but never zeros that nobody asked for, and never a hang.
TEST_P(Discards, Hazard11_RawDontneedOnATakenPageBringsTheOldBytesBack) {
  NodeRig rig(GetParam(), one_by_one());
  auto& guest = rig.add();
  guest.fill(0, 64, 1);
  rig.evict(guest);
  guest.fill(64, 128, 1);
  rig.park(guest);
  ASSERT_EQ(guest.state(64), PageState::isolated);
  ASSERT_EQ(::madvise(guest.at(0), 128 * kPageSize, MADV_DONTNEED), 0);
  EXPECT_EQ(guest.wrong(0, 128, 1), "");
}

// The baseline copies what it takes, and can meet a page that was dropped a moment ago.
TEST_P(Discards, Hazard11_RawDontneedWhileThePagesAreTaken) {
  NodeRig rig(GetParam());
  test::RigGuestOptions one_run;
  one_run.pages = 64;
  auto& guest = rig.add(one_run);
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> drops{0};
  std::thread application([&] {
    for (std::uint64_t i = 0; !over; ++i, ++drops) ::madvise(guest.at(i * 13 % 64), kPageSize, MADV_DONTNEED);
  });
  // However rarely the other thread comes to run.
  for (std::uint64_t i = 1; i <= 300 || drops <= 300; ++i) {
    guest.fill(i);
    rig.park(guest);
    rig.write(guest);
    // Dropped while it was being filled or copied, a page may hold some of its words; none of an older version.
    for (std::uint64_t page = 0; page < 64; ++page) {
      const auto* words = reinterpret_cast<const volatile std::uint64_t*>(guest.at(page));
      for (std::size_t w = test::kHeaderWords; w < test::kPageWords; ++w) {
        const auto word = words[w];
        ASSERT_TRUE(word == 0 || word == test::word_of(guest->id(), page, i, w)) << "page " << page << ", word " << w;
      }
    }
  }
  over = true;
  application.join();
  EXPECT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 0, 64));
  rig.settle(guest);
  EXPECT_EQ(test::resident_pages(guest->staged(0), 64), 0u);
  EXPECT_EQ(rig.credit().charged(), 0u);
}

TEST_P(Discards, Hazard11_DiscardRacesWritersAndEviction) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> writes{0};
  // Each page is written whole by one thread, which then sees all of it, or zeros if it was discarded.
  std::thread writer([&] {
    for (std::uint64_t i = 0; !over; ++i, ++writes) {
      const auto page = i * 37 % 256;
      guest.fill(page, page + 1, i);
    }
  });
  EXPECT_TRUE(test::eventually([&] { return writes > 256; }));
  for (int i = 0; i < 300; ++i) {
    const auto first = static_cast<std::uint64_t>(i) * 29 % 192;
    EXPECT_TRUE(reclaim::discard(guest.memory(), guest.pins(), first, 64));
    if (i % 3 == 0) rig.park(guest);
    if (i % 6 == 0) rig.write(guest, i % 12 == 0);
  }
  over = true;
  writer.join();
  rig.finish();
  ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 0, 256));
  for (std::uint64_t page = 0; page < 256; ++page) ASSERT_TRUE(test::is_zero(guest.at(page))) << page;
  rig.settle(guest);
  EXPECT_EQ(guest.store().slots.in_use(), 0u);
  EXPECT_EQ(guest->counters.staging.load(), 0u);
  EXPECT_EQ(guest->counters.resident.load(), test::resident_pages(guest.at(0), 256));
  EXPECT_EQ(rig.credit().charged(), guest->counters.resident.load());
}

}  // namespace
}  // namespace vmm
