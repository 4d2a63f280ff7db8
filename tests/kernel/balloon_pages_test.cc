// Ballooned pages: given up from every state, they cost nothing and read as zero; hazard 38.
#include "reclaim/balloon_pages.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "reclaim/discard.h"
#include "support/call_hook.h"
#include "support/eventually.h"
#include "support/guarded_access.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"
#include "support/swap_slots.h"

namespace vmm {
namespace {

using reclaim::give;
using reclaim::take_back;
using region::PageState;
using test::NodeRig;
using test::RigGuest;

constexpr std::uint64_t kAll = ~std::uint64_t{0};

class BalloonPages : public test::BackEnds {};
VMM_ALL_BACK_ENDS(BalloonPages);

test::RigOptions one_by_one() {
  test::RigOptions o;
  o.batch_pages = 1;
  return o;
}

void read_all(RigGuest& guest, std::uint64_t first, std::uint64_t end) {
  for (auto page = first; page < end; ++page) EXPECT_EQ(test::try_read(guest.at(page)).signal, 0);
}

// All that is counted agrees with the words and with the kernel.
void expect_accounted(NodeRig& rig, RigGuest& guest) {
  rig.settle(guest);
  std::uint64_t ballooned = 0;
  for (std::uint64_t page = 0; page < guest->pages(); ++page)
    ballooned += guest.state(page) == PageState::ballooned ? 1 : 0;
  EXPECT_EQ(guest->counters.ballooned.load(), ballooned);
  EXPECT_EQ(rig.credit().charged(), guest->counters.resident.load());
  EXPECT_EQ(guest->counters.resident.load(),
            test::resident_pages(guest.at(0), guest->pages()) + guest->counters.staging.load());
  EXPECT_GE(guest.store().slots.in_use(), guest->counters.swapped.load());
}

struct Case {
  const char* name;
  // Brings pages 64-127 of a filled guest of 192 into the state.
  void (*make)(NodeRig&, RigGuest&);
  std::uint64_t freed;     // of the 64 pages, by giving them
  std::uint64_t accepted;
};

const Case kCases[] = {
    {"resident", [](NodeRig&, RigGuest&) {}, 64, 64},
    {"parked", [](NodeRig& rig, RigGuest& guest) { EXPECT_EQ(rig.park(guest), 192u); }, 64, 64},
    {"being written",
     [](NodeRig& rig, RigGuest& guest) {
       rig.park(guest);
       rig.write(guest, false);
     },
     0, 64},
    {"rescued while being written",
     [](NodeRig& rig, RigGuest& guest) {
       rig.park(guest);
       rig.write(guest, false);
       read_all(guest, 64, 128);
       EXPECT_EQ(guest.state(64), PageState::resident);
     },
     64, 64},
    {"swapped", [](NodeRig& rig, RigGuest& guest) { rig.evict(guest); }, 0, 64},
    {"clean, with a slot",
     [](NodeRig& rig, RigGuest& guest) {
       rig.evict(guest);
       read_all(guest, 64, 128);
       rig.settle(guest);
       EXPECT_TRUE(guest->table.load(64).has_slot());
     },
     64, 64},
    {"lost",
     [](NodeRig& rig, RigGuest& guest) {
       rig.evict(guest);
       for (std::uint64_t page = 64; page < 128; ++page) test::flip_bit(guest.memory(), page, page);
       for (std::uint64_t page = 64; page < 128; ++page) EXPECT_NE(test::try_read(guest.at(page)).signal, 0);
       EXPECT_EQ(guest.state(64), PageState::lost);
     },
     0, 0},
    {"discarded",
     [](NodeRig&, RigGuest& guest) { ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 64, 64)); }, 0, 64},
    {"given before",
     [](NodeRig&, RigGuest& guest) { EXPECT_EQ(give(guest.memory(), 64, 64, kAll).accepted.count(), 64u); }, 0, 0},
    {"pinned", [](NodeRig&, RigGuest& guest) { ASSERT_TRUE(guest.pins().pin(64, 64, 64)); }, 0, 0},
};

TEST_P(BalloonPages, Hazard38_GivenPagesCostNothingAndReadAsZeroInEveryState) {
  test::CatchSignals catcher;
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    NodeRig rig(GetParam(), one_by_one());
    test::RigGuestOptions options;
    options.pages = 192;
    auto& guest = rig.add(options);
    guest.fill();
    rig.settle(guest);
    c.make(rig, guest);
    const auto before = guest->counters.ballooned.load();
    const auto out = guest->counters.ballooned_out.load();
    const auto given = give(guest.memory(), 64, 64, kAll);
    EXPECT_EQ(given.accepted.count(), c.accepted);
    EXPECT_EQ(given.freed, c.freed);
    EXPECT_EQ(given.refused, 64 - c.accepted);
    EXPECT_EQ(given.already.count(), before);
    EXPECT_EQ(guest->counters.ballooned.load(), before + c.accepted);
    EXPECT_EQ(guest->counters.ballooned_out.load(), out + c.freed);
    EXPECT_EQ(guest->counters.balloon_refused.load(), 64 - c.accepted);
    if (c.accepted == 0) continue;
    EXPECT_EQ(test::resident_pages(guest.at(64), 64), 0u);
    // Touched before the writes that are in flight have ended.
    for (std::uint64_t page = 64; page < 96; ++page) EXPECT_TRUE(test::is_zero(guest.at(page))) << page;
    guest.fill(96, 112, 2);
    rig.finish();
    rig.settle(guest);
    EXPECT_EQ(guest->counters.balloon_popped.load() + guest->counters.ballooned.load(), 64u);
    EXPECT_GE(guest->counters.balloon_popped.load(), 48u);
    EXPECT_EQ(guest.wrong(96, 112, 2) + guest.wrong(0, 64, 1) + guest.wrong(128, 192, 1), "");
    EXPECT_EQ(test::resident_pages(guest->staged(64), 64), 0u);
    expect_accounted(rig, guest);
    // Neither memory nor swap is kept for what is given.
    rig.evict(guest);
    EXPECT_EQ(guest.store().slots.in_use(), 144u);
    EXPECT_EQ(guest->counters.resident.load(), 0u);
    for (std::uint64_t page = 64; page < 96; ++page) EXPECT_TRUE(test::is_zero(guest.at(page))) << page;
    EXPECT_EQ(guest.wrong(96, 112, 2) + guest.wrong(0, 64, 1) + guest.wrong(128, 192, 1), "");
  }
}

TEST_P(BalloonPages, UntouchedPagesOfAManagedGuestCanBeGiven) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  const auto given = give(guest.memory(), 0, 256, kAll);
  EXPECT_EQ(given.accepted.count(), 256u);
  EXPECT_EQ(given.freed, 0u);
  EXPECT_EQ(guest->counters.ballooned.load(), 256u);
  EXPECT_TRUE(test::is_zero(guest.at(7)));
  guest.fill(8, 9, 1);
  EXPECT_EQ(guest.wrong(8, 9, 1), "");
  expect_accounted(rig, guest);
}

TEST_P(BalloonPages, NothingIsAcceptedInANativeGuest) {
  NodeRig rig(GetParam());
  test::RigGuestOptions options;
  options.manage = false;
  auto& guest = rig.add(options);
  guest.fill();
  const auto given = give(guest.memory(), 0, 256, kAll);
  EXPECT_TRUE(given.accepted.none());
  EXPECT_EQ(given.refused, 256u);
  EXPECT_EQ(guest.wrong(), "");
}

TEST_P(BalloonPages, AGuestIsNotNativeAgainWhileItHasABalloon) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  give(guest.memory(), 10, 1, kAll);
  {
    base::MutexLock lock(guest->control);
    EXPECT_FALSE(guest->unmanage());
  }
  EXPECT_EQ(take_back(guest.memory(), 0, 256).count, 1u);
  rig.settle(guest);
  {
    base::MutexLock lock(guest->control);
    EXPECT_TRUE(guest->unmanage());
  }
  EXPECT_TRUE(test::is_zero(guest.at(10)));
  EXPECT_EQ(rig.credit().charged(), 0u);
}

TEST_P(BalloonPages, NoMoreThanIsAllowed) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  ASSERT_TRUE(guest.pins().pin(2, 1, 256));
  give(guest.memory(), 5, 1, kAll);
  const auto given = give(guest.memory(), 0, 100, 10);
  EXPECT_EQ(given.accepted.count(), 10u);
  EXPECT_EQ(given.refused, 90u);
  EXPECT_TRUE(given.accepted[11] && !given.accepted[2] && !given.accepted[5] && !given.accepted[12]);
  EXPECT_TRUE(given.already[5]);
  EXPECT_EQ(given.already.count(), 1u);
  EXPECT_EQ(give(guest.memory(), 0, 100, 0).refused, 100u);
  EXPECT_EQ(guest.wrong(12, 256, 1), "");
  expect_accounted(rig, guest);
}

TEST_P(BalloonPages, WhereTheKernelRefusesThePagesAreAsTheyWere) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.settle(guest);
  {
    test::CallHook hook;
    hook.fail(os::Call::madvise, EINVAL);
    const auto given = give(guest.memory(), 0, 128, kAll);
    EXPECT_TRUE(given.accepted.none());
    EXPECT_EQ(given.refused, 128u);
  }
  EXPECT_EQ(guest.wrong(), "");
  expect_accounted(rig, guest);
}

TEST_P(BalloonPages, APageThatIsBeingReadIsRefusedAndNotWaitedFor) {
  NodeRig rig(GetParam(), one_by_one());
  auto& guest = rig.add();
  guest.fill();
  rig.evict(guest);
  // As the fault thread holds it until the device has answered.
  const auto word = guest->table.lock(20);
  ASSERT_EQ(word.state(), PageState::swapped);
  const auto given = give(guest.memory(), 0, 64, kAll);
  EXPECT_EQ(given.accepted.count(), 63u);
  EXPECT_FALSE(given.accepted[20] || given.already[20]);
  guest->table.unlock(20, word);
  guest->table.released();
  EXPECT_EQ(guest.wrong(20, 21, 1) + guest.wrong(64, 256, 1), "");
}

TEST_P(BalloonPages, OnlyWhatIsTouchedPops) {
  test::RigOptions roomy;
  roomy.roomy_free_pages = 0;  // untouched memory is filled in blocks of 16 pages
  NodeRig rig(GetParam(), roomy);
  test::RigGuestOptions options;
  options.pages = 2048;
  auto& guest = rig.add(options);
  give(guest.memory(), 512, 512, kAll);
  // A fill beside the balloon, scattered touches in it, and one just before it.
  guest.fill(511, 512, 1);
  for (std::uint64_t page = 1000; page > 600; page -= 100) guest.fill(page, page + 1, 1);
  guest.fill(1024, 1025, 1);
  rig.settle(guest);
  EXPECT_EQ(guest->counters.balloon_popped.load(), 4u);
  EXPECT_EQ(guest->counters.ballooned.load(), 508u);
  EXPECT_EQ(guest->counters.balloon_pops.load(), 4u);
  EXPECT_EQ(guest->latency.pop.count(), 4u);
  EXPECT_EQ(guest->latency.fill.count(), guest->counters.fills.load());
  // Touched in order: far fewer faults than pages.
  const auto faults = guest->counters.faults.load();
  guest.fill(512, 600, 1);
  rig.settle(guest);
  EXPECT_LT(guest->counters.faults.load() - faults, 12u);
  for (std::uint64_t page = 801; page < 900; ++page) EXPECT_EQ(guest.state(page), PageState::ballooned) << page;
  EXPECT_EQ(guest.wrong(512, 600, 1), "");
  expect_accounted(rig, guest);
}

TEST_P(BalloonPages, Hazard38_TakenBackPagesAreZero) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  give(guest.memory(), 10, 20, kAll);
  give(guest.memory(), 40, 20, kAll);
  guest.fill(12, 13, 2);
  rig.settle(guest);
  ASSERT_EQ(guest.state(12), PageState::resident);
  const auto one = take_back(guest.memory(), 0, 256);
  EXPECT_EQ(one.first, 10u);
  EXPECT_EQ(one.count, 2u);
  const auto two = take_back(guest.memory(), 15, 3);
  EXPECT_EQ(two.first, 15u);
  EXPECT_EQ(two.count, 3u);
  for (auto at = std::uint64_t{0}; at < 256;) {
    const auto s = take_back(guest.memory(), at, 256 - at);
    if (s.count == 0) break;
    at = s.first + s.count;
  }
  EXPECT_EQ(guest->counters.ballooned.load(), 0u);
  EXPECT_EQ(take_back(guest.memory(), 0, 256).count, 0u);
  for (const auto page : {10u, 16u, 29u, 45u}) EXPECT_EQ(guest.state(page), PageState::empty) << page;
  EXPECT_EQ(guest.wrong(12, 13, 2), "");
  for (const auto page : {10u, 16u, 29u, 45u}) EXPECT_TRUE(test::is_zero(guest.at(page))) << page;
  EXPECT_EQ(guest.wrong(30, 40, 1) + guest.wrong(60, 256, 1), "");
  EXPECT_LE(guest->counters.balloon_popped.load(), 4u) << "what was taken back does not pop";
  expect_accounted(rig, guest);
}

TEST_P(BalloonPages, ADiscardShrinksTheBalloonAndAPinFillsIt) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  give(guest.memory(), 0, 128, kAll);
  ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 0, 32));
  EXPECT_EQ(guest->counters.ballooned.load(), 96u);
  EXPECT_EQ(guest.state(0), PageState::empty);
  if (const auto why = test::unable_in_kernel(); why.empty()) {
    ASSERT_TRUE(guest.pins().pin(64, 32, 256));
    EXPECT_EQ(test::resident_pages(guest.at(64), 32), 32u);
    for (std::uint64_t page = 64; page < 96; ++page) EXPECT_TRUE(test::is_zero(guest.at(page))) << page;
    EXPECT_TRUE(give(guest.memory(), 64, 32, kAll).accepted.none());
  }
  expect_accounted(rig, guest);
}

// Writers, the evictor, discards and the balloon at the same pages. A page ends as its writer wrote it, or as zeros
// with what was written since; never with an older version's words, and nothing is lost in the books.
TEST_P(BalloonPages, GivingRacesWritersEvictionAndDiscard) {
  NodeRig rig(GetParam());
  test::RigGuestOptions options;
  options.pages = 192;
  auto& guest = rig.add(options);
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> rounds{0};
  std::vector<std::string> trouble(2);
  std::vector<std::thread> writers;
  for (std::uint64_t w = 0; w < 2; ++w)
    writers.emplace_back([&, w] {
      std::uint64_t last[192] = {};
      for (std::uint64_t i = 1; !over && trouble[w].empty(); ++i, ++rounds) {
        const auto page = (i * 37 + w) % 96 * 2 + w;  // of this writer alone
        const auto* const words = reinterpret_cast<const volatile std::uint64_t*>(guest.at(page));
        for (std::size_t k = test::kHeaderWords; k < test::kPageWords; ++k) {
          const auto word = words[k];
          if (word != 0 && (last[page] == 0 || word != test::word_of(guest->id(), page, last[page], k)))
            trouble[w] = "page " + std::to_string(page) + ", word " + std::to_string(k);
        }
        guest.fill(page, page + 1, last[page] = i);
      }
    });
  std::thread balloon([&] {
    for (std::uint64_t i = 0; !over; ++i) {
      const auto first = i * 29 % 160;
      give(guest.memory(), first, 32, i % 4 == 0 ? 7 : kAll);
      if (i % 3 == 0) take_back(guest.memory(), i * 53 % 96, 96);
    }
  });
  for (std::uint64_t i = 0; i < 400; ++i) {
    if (i % 3 == 0) rig.out().finish(false, rig.now());
    guest.evictor().park(192, kAll, rig.now());
    if (i % 4 == 0) rig.write(guest, i % 8 == 0);
    if (i % 16 == 0) {
      EXPECT_TRUE(reclaim::discard(guest.memory(), guest.pins(), i * 31 % 128, 64));
    }
  }
  // On a busy machine the writers can have had their rounds before the balloon's thread ran at all.
  const auto& counters = guest->counters;
  const auto met = [&] { return counters.balloon_popped > 0 && counters.ballooned_out > 0; };
  EXPECT_TRUE(test::eventually([&] { return (rounds > 2000 && met()) || !(trouble[0] + trouble[1]).empty(); }));
  over = true;
  balloon.join();
  for (auto& w : writers) w.join();
  EXPECT_EQ(trouble[0] + trouble[1], "");
  rig.finish();
  expect_accounted(rig, guest);
  EXPECT_TRUE(met());
  // And all of it goes.
  rig.settle(guest);
  give(guest.memory(), 0, 192, kAll);
  rig.finish();
  rig.settle(guest);
  EXPECT_EQ(guest->counters.ballooned.load(), 192u);
  EXPECT_EQ(guest.store().slots.in_use(), 0u);
  EXPECT_EQ(rig.credit().charged(), 0u);
  EXPECT_EQ(test::resident_pages(guest.at(0), 192) + test::resident_pages(guest->staged(0), 192), 0u);
}

}  // namespace
}  // namespace vmm
