// What is reserved stays, asked of the kernel. The guests are reserved after they were filled, so that their swap files
// have room for all of them, and nobody touches them: nothing but the rule keeps what is reserved, and what has left
// once is seen at the end.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/host_rig.h"
#include "support/kernel_view.h"

namespace vmm {
namespace {

using test::HostRig;
using test::pages_in_memory;

constexpr std::uint64_t pages(std::uint64_t bytes) { return bytes / kPageSize; }

class Reservations : public test::EachWay {
 protected:
  static void adjust(HostOptions& o) {
    o.idle_tax = 0;
    o.sample_pages = 0;
  }
  Guest add(const std::string& name, std::uint64_t memory, Shares shares, const std::string& pool = "/",
            bool large_pages = false) {
    auto o = guest_options(name, memory);
    o.large_pages = large_pages;
    o.shares = shares;
    o.pool = pool;
    auto guest = rig_.host().create_guest(o);
    EXPECT_TRUE(guest) << guest.error().message();
    return guest ? std::move(*guest) : Guest();
  }
  // After it was filled.
  static void reserve(Guest& guest, std::uint64_t reservation) {
    const auto r = guest.configure({.reservation = reservation});
    EXPECT_TRUE(r) << r.error().message();
    EXPECT_GE(guest.stats()->swap_file, guest.stats()->memory) << "there is room for all of it";
  }
  // With so much less memory for the host, until it has what it wants again.
  void shrink_to(std::uint64_t memory) {
    const auto r = rig_.host().configure({.memory = memory});
    ASSERT_TRUE(r) << r.error().message();
    for (int steps = 0; steps < 3; ++steps) rig_.tick();  // a level of the state each
    EXPECT_TRUE(ends_high());
    rig_.tick();
  }
  bool ends_high() {
    return test::eventually([&] { return rig_.host().stats()->state == MemoryState::high; });
  }

  HostRig rig_{GetParam(), adjust};  // of 128 MiB
};
VMM_EACH_WAY(Reservations);

// The host's memory is nearly halved: the state is low until 50 MiB have been written.
TEST_P(Reservations, AreKeptInStateLowWhileSwapFilesTakeWrites) {
  auto kept = add("kept", 40 * MiB, Shares::low());
  test::fill_guest(kept, 1);
  auto part = add("partly used", 24 * MiB, Shares::low());
  for (std::uint64_t page = 0; page < pages(8 * MiB); ++page) test::fill_page(test::page_at(part, page), 2, page, 1);
  auto other = add("other", 64 * MiB, Shares::high());
  test::fill_guest(other, 3);
  reserve(kept, 32 * MiB);
  reserve(part, 16 * MiB);
  const auto has = pages_in_memory(part);
  ASSERT_GE(has, pages(8 * MiB));
  shrink_to(72 * MiB);
  std::vector<std::string> states;
  for (const auto& e : rig_.events(EventKind::state_changed)) states.push_back(e.mechanism);
  EXPECT_NE(std::find(states.begin(), states.end(), "low"), states.end()) << "it was not low: the test shows nothing";
  EXPECT_GE(pages_in_memory(kept), pages(32 * MiB));
  EXPECT_LT(pages_in_memory(kept), pages(34 * MiB)) << "what is not reserved is taken";
  EXPECT_EQ(pages_in_memory(part), has) << "it has less than it has reserved";
  EXPECT_EQ(part.stats()->swapped_out, 0u);
  EXPECT_EQ(test::told_of(rig_.events(), "other"), test::counted_of(other));
  EXPECT_EQ(test::wrong_in(kept, 1), "");
  EXPECT_EQ(test::wrong_in(other, 3), "");
}

TEST_P(Reservations, AreKeptFromWhoAsksForMore) {
  for (const bool large_pages : {false, true}) {
    SCOPED_TRACE(large_pages ? "huge pages" : "small pages");
    auto guest = add(large_pages ? "huge" : "small", 24 * MiB, Shares::normal(), "/", large_pages);
    test::fill_guest(guest, 1);
    reserve(guest, 20 * MiB);
    std::uint64_t freed = 0;
    for (int i = 0; i < 4; ++i) freed += *guest.reclaim(24 * MiB);
    EXPECT_EQ(freed, 4 * MiB);
    EXPECT_EQ(pages_in_memory(guest), pages(20 * MiB));
    EXPECT_EQ(test::wrong_in(guest, 1), "");
  }
}

// What is watched waits in staging, where whatever is reclaimed waits too.
TEST_P(Reservations, AreKeptWhileTheGuestIsSampled) {
  ASSERT_TRUE(rig_.host().configure({.sample_pages = 2000u}));
  auto huge = add("huge", 24 * MiB, Shares::low(), "/", true), small = add("small", 24 * MiB, Shares::low());
  test::fill_guest(huge, 1);
  test::fill_guest(small, 2);
  reserve(huge, 20 * MiB);
  reserve(small, 20 * MiB);
  auto filler = add("filler", 56 * MiB, Shares::high());
  test::fill_guest(filler, 3);
  rig_.tick();
  rig_.tick();
  EXPECT_GT(huge.stats()->staging, 4 * MiB) << "nothing is watched: the test shows nothing";
  EXPECT_GT(small.stats()->staging, 4 * MiB) << "nothing is watched: the test shows nothing";
  shrink_to(80 * MiB);
  for (auto* guest : {&huge, &small}) {
    EXPECT_GE(pages_in_memory(*guest), pages(20 * MiB)) << "under pressure";
    EXPECT_TRUE(guest->reclaim(24 * MiB));
    EXPECT_GE(pages_in_memory(*guest), pages(20 * MiB)) << "asked for";
  }
  EXPECT_EQ(test::wrong_in(huge, 1), "");
  EXPECT_EQ(test::wrong_in(small, 2), "");
}

// A pool's reservation is its guests', whatever shares it has; without one, shares count.
TEST_P(Reservations, OfAPoolAreKeptForItsGuestsTogether) {
  ASSERT_TRUE(rig_.host().create_pool("/kept", {.shares = Shares::custom(1)}));
  auto a = add("a", 24 * MiB, Shares::normal(), "/kept"), b = add("b", 24 * MiB, Shares::normal(), "/kept");
  test::fill_guest(a, 1);
  test::fill_guest(b, 2);
  ASSERT_TRUE(rig_.host().configure_pool("/kept", {.reservation = 40 * MiB}));
  EXPECT_GE(a.stats()->swap_file, 24 * MiB);
  auto other = add("other", 64 * MiB, Shares::custom(1'000'000));
  test::fill_guest(other, 3);
  const auto held = [&] {
    return pages_in_memory(a) + pages_in_memory(b) + pages(a.stats()->overhead + b.stats()->overhead);
  };
  shrink_to(72 * MiB);
  // Runs of 64 pages are taken whole: of each guest one may leave that is not half beyond it.
  EXPECT_GE(held() + 2 * 64, pages(40 * MiB));
  EXPECT_LT(held(), pages(42 * MiB)) << "with few shares it keeps no more";
  ASSERT_TRUE(rig_.host().configure_pool("/kept", {.reservation = 0}));
  shrink_to(48 * MiB);
  EXPECT_LT(held(), pages(24 * MiB));
  EXPECT_EQ(test::wrong_in(a, 1), "");
  EXPECT_EQ(test::wrong_in(b, 2), "");
  EXPECT_EQ(test::wrong_in(other, 3), "");
}

}  // namespace
}  // namespace vmm
