// State low: guests above their target stop at their next fault, those below go on. Nothing can be written to swap
// files here, so that memory stays as short as the test makes it.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <list>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/call_hook.h"
#include "support/guarded_access.h"
#include "support/host_rig.h"
#include "support/kernel_view.h"

namespace vmm {
namespace {

using test::CallHook;
using test::HostRig;
using test::page_at;

constexpr std::uint64_t kPagesOfGuest = 128 * MiB / kPageSize;

// A thread that fills a guest from page `first` on, one page after the other. Its end gives the host what it takes.
class Filler {
 public:
  Filler(Host& host, const Guest& guest, std::uint64_t first)
      : host_(host), memory_(guest.memory().data()), first_(first), thread_([this] { run(); }) {}
  ~Filler() {
    stop_ = true;
    EXPECT_TRUE(host_.configure({.memory = 512 * MiB}));
    thread_.join();
  }
  // Pages below this one are filled.
  std::uint64_t filled() const { return first_ + done_; }

 private:
  void run() {
    for (auto page = first_; page < kPagesOfGuest && !stop_; ++page, ++done_)
      test::fill_page(memory_ + page * kPageSize, 1, page, 1);
  }
  Host& host_;
  std::byte* const memory_;
  const std::uint64_t first_;
  std::atomic<std::uint64_t> done_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

class StateLow : public test::EachWay {
 protected:
  static constexpr std::chrono::hours kStop{1};

  StateLow() {
    hook_.fail(os::Call::pwrite, EIO);
    hook_.fail(os::Call::uring_write, EIO);
  }
  static void adjust(HostOptions& o) {
    o.idle_tax = 0;
    o.stop_timeout = kStop;
    o.sample_pages = 0;
    o.swap_retry_timeout = std::chrono::hours(1);
  }
  // When swap files take writes again memory comes free, and the state is high in the end, with all guests there.
  void TearDown() override {
    if (!rig_.host()) return;
    allow_writes();
    EXPECT_TRUE(rig_.host().configure({.memory = 128 * MiB}));
    rig_.tick(std::chrono::hours(2));  // beyond swap_retry_timeout
    EXPECT_TRUE(test::eventually([&] { return state() == MemoryState::high; }));
    EXPECT_TRUE(test::eventually([&] {
      rig_.tick();
      return std::all_of(guests_.begin(), guests_.end(), [&](const Guest& g) {
        return !g || test::told_of(rig_.events(), g.stats()->name) == test::counted_of(g);
      });
    })) << "reclaim that was not told";
  }
  Guest& add(const std::string& name, std::uint64_t pages) { return guests_.emplace_back(rig_.add(name, pages)); }
  void allow_writes() {
    hook_.fail(os::Call::pwrite, 0, 0);
    hook_.fail(os::Call::uring_write, 0, 0);
  }
  bool stops(const Guest& guest) {
    return test::eventually([&] { return guest.stats()->stopped; });
  }
  // Fills the guest until the state is low and the guest is stopped. Returns the first page that is not filled.
  std::uint64_t fill_until_low(const Guest& guest, double low = 0.01) {
    std::uint64_t page = 0;
    const auto mark = static_cast<std::uint64_t>(low * static_cast<double>(128 * MiB / kPageSize));
    for (; free_memory() / kPageSize > mark; ++page) test::fill_page(page_at(guest, page), 1, page, 1);
    EXPECT_TRUE(stops(guest));
    return page;
  }
  // A thread of the guest waits for a page.
  static bool waits(const Guest& guest) {
    const auto s = *guest.stats();
    return s.stopped && s.faults > s.fills;
  }
  MemoryState state() { return rig_.host().stats()->state; }
  std::uint64_t free_memory() { return rig_.host().stats()->free; }
  // Frees so much of the guest's memory that the state can be high, from the outside.
  static void discard(Guest& guest, std::uint64_t pages) {
    const auto r = guest.discard(0, pages * kPageSize);
    EXPECT_TRUE(r) << r.error().message();
  }
  std::vector<Event> events(EventKind kind) {
    rig_.tick();
    return rig_.events(kind);
  }
  static std::string wrong_pages(const Guest& guest, std::uint64_t id, std::uint64_t first, std::uint64_t end) {
    std::string text;
    for (auto page = first; page < end && text.empty(); ++page)
      text = test::wrong_page(page_at(guest, page), id, page, 1);
    return text;
  }

  CallHook hook_;
  HostRig rig_{GetParam(), adjust};
  std::list<Guest> guests_;  // to the end
};
VMM_EACH_WAY(StateLow);

TEST_P(StateLow, TheOneAboveItsTargetStopsAndTheOthersGoOn) {
  auto& big = add("big", kPagesOfGuest);
  auto& small = add("small", 2048);
  test::fill_guest(small, 2);  // known before memory is short
  discard(small, 2048);
  const auto at = fill_until_low(big);
  EXPECT_EQ(state(), MemoryState::low);
  EXPECT_LE(free_memory(), 128 * MiB / 100);
  auto s = *big.stats();
  EXPECT_GT(s.resident + s.overhead, s.target);
  EXPECT_EQ(s.stops, 1u);
  EXPECT_EQ(s.swapped, 0u) << "nothing can be written";
  // Whoever is below its target gets what is left, and the one who is stopped gets no page.
  Filler filler(rig_.host(), big, at);
  EXPECT_TRUE(test::eventually([&] { return waits(big); }));
  const auto left = free_memory() / kPageSize, held = big.stats()->resident;
  ASSERT_GT(left, 64u);
  for (std::uint64_t page = 0; page < left / 2; ++page) test::fill_page(page_at(small, page), 2, page, 1);
  EXPECT_TRUE(waits(big));
  EXPECT_EQ(big.stats()->resident, held);
  EXPECT_EQ(small.stats()->stops, 0u);
  EXPECT_EQ(wrong_pages(small, 2, 0, left / 2), "");
  const auto stopped = events(EventKind::guest_stopped);
  ASSERT_EQ(stopped.size(), 1u);
  EXPECT_EQ(stopped[0].guest, "big");
  EXPECT_EQ(stopped[0].mechanism, "stop");
  EXPECT_GT(stopped[0].bytes, 0u);
  EXPECT_NE(stopped[0].reason.find("its target is"), std::string::npos) << stopped[0].reason;
  // The state clears: it goes on.
  discard(big, at / 2);
  EXPECT_TRUE(test::eventually([&] { return !big.stats()->stopped && filler.filled() > at; }));
  EXPECT_TRUE(test::eventually([&] {
    discard(big, filler.filled());
    return state() == MemoryState::high && filler.filled() == kPagesOfGuest;
  }));
  EXPECT_TRUE(events(EventKind::stop_ended).empty()) << "no stop was too long";
  EXPECT_LT(big.stats()->stopped_ns, static_cast<std::uint64_t>(std::chrono::nanoseconds(kStop).count()));
  EXPECT_GT(big.stats()->stopped_ns, 0u);
  EXPECT_GT(big.stats()->stop_latency.count, 0u) << "faults waited for the end of the stop";
  EXPECT_EQ(small.stats()->stop_latency.count, 0u);
  EXPECT_EQ(wrong_pages(small, 2, 0, left / 2), "");
}

TEST_P(StateLow, NoStopIsLongerThanItsTimeout) {
  auto& big = add("big", kPagesOfGuest);
  const auto at = fill_until_low(big);
  Filler filler(rig_.host(), big, at);
  rig_.tick(std::chrono::minutes(59));
  EXPECT_TRUE(big.stats()->stopped);
  constexpr std::chrono::nanoseconds kSoFar = std::chrono::minutes(59);
  EXPECT_GE(big.stats()->stopped_ns, static_cast<std::uint64_t>(kSoFar.count())) << "while it lasts";
  EXPECT_TRUE(test::eventually([&] { return waits(big); }));
  rig_.tick(std::chrono::minutes(2));
  EXPECT_FALSE(big.stats()->stopped);
  EXPECT_EQ(state(), MemoryState::low);
  EXPECT_TRUE(test::eventually([&] { return filler.filled() > at; })) << "it uses what is left";
  const auto ended = rig_.events(EventKind::stop_ended);
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].guest, "big");
  EXPECT_NE(ended[0].reason.find("3600000 ms"), std::string::npos) << ended[0].reason;
  const auto s = *big.stats();
  EXPECT_GE(s.stopped_ns, static_cast<std::uint64_t>(std::chrono::nanoseconds(kStop).count()));
  EXPECT_LT(s.stopped_ns, static_cast<std::uint64_t>(std::chrono::nanoseconds(2 * kStop).count()));
  // Not stopped again before the state has been better.
  for (int i = 0; i < 5; ++i) rig_.tick(std::chrono::hours(1));
  EXPECT_EQ(big.stats()->stops, 1u);
  EXPECT_TRUE(test::eventually([&] { return free_memory() == 0; }));
  discard(big, kPagesOfGuest / 2);
  EXPECT_TRUE(test::eventually([&] {
    discard(big, filler.filled());
    return filler.filled() == kPagesOfGuest;
  }));
}

TEST_P(StateLow, WithoutATimeNobodyStops) {
  ASSERT_TRUE(rig_.host().configure({.stop_timeout = std::chrono::milliseconds(0)}));
  auto& big = add("big", kPagesOfGuest);
  Filler filler(rig_.host(), big, 0);
  EXPECT_TRUE(test::eventually([&] { return state() == MemoryState::low && free_memory() == 0; }));
  EXPECT_TRUE(test::eventually([&] { return big.stats()->stalls > 0; }));
  EXPECT_EQ(big.stats()->stops, 0u);
  EXPECT_TRUE(events(EventKind::guest_stopped).empty());
  EXPECT_TRUE(test::eventually([&] {
    discard(big, filler.filled());
    return filler.filled() == kPagesOfGuest;
  }));
}

// Turned off and on while somebody is stopped.
TEST_P(StateLow, TheTimeCanBeChangedWhileAGuestIsStopped) {
  auto& big = add("big", kPagesOfGuest);
  const auto at = fill_until_low(big);
  Filler filler(rig_.host(), big, at);
  ASSERT_TRUE(rig_.host().configure({.stop_timeout = std::chrono::milliseconds(0)}));
  EXPECT_TRUE(test::eventually([&] { return !big.stats()->stopped && filler.filled() > at; }));
  EXPECT_TRUE(events(EventKind::stop_ended).empty()) << "the user ended it";
  ASSERT_TRUE(rig_.host().configure({.stop_timeout = kStop}));
  ASSERT_TRUE(stops(big));
  EXPECT_EQ(big.stats()->stops, 2u);
  // More memory for the host clears the state.
  ASSERT_TRUE(rig_.host().configure({.memory = 512 * MiB}));
  EXPECT_TRUE(test::eventually([&] { return filler.filled() == kPagesOfGuest; }));
  EXPECT_TRUE(test::eventually([&] { return state() == MemoryState::high; }));
  EXPECT_FALSE(big.stats()->stopped);
  EXPECT_EQ(wrong_pages(big, 1, 0, kPagesOfGuest), "");
}

TEST_P(StateLow, AGuestThatIsStoppedCanBeConfigured) {
  auto& big = add("big", kPagesOfGuest);
  const auto at = fill_until_low(big);
  Filler filler(rig_.host(), big, at);
  EXPECT_TRUE(big.configure({.shares = Shares::high(), .limit = 96 * MiB}));
  EXPECT_TRUE(big.configure({.limit = 0, .balloon_max = 0}));
  EXPECT_TRUE(big.reclaim(1 * MiB)) << "it may be asked, though nothing comes of it";
  EXPECT_TRUE(big.prefetch(0, 16 * kPageSize));
  EXPECT_TRUE(rig_.host().create_pool("/p", {}));
  EXPECT_TRUE(big.configure({.pool = "/p"}));
  auto seat = big.attach_current_thread();
  EXPECT_TRUE(seat);
  EXPECT_TRUE(big.stats()->stopped);
  EXPECT_TRUE(test::eventually([&] {
    discard(big, filler.filled());
    return filler.filled() == kPagesOfGuest;
  }));
}

// Its threads that wait get SIGSEGV, as those of any guest that ends.
TEST_P(StateLow, AGuestThatIsStoppedCanEndAndSoCanItsHost) {
  test::CatchSignals catcher;
  for (const bool host_ends : {false, true}) {
    auto& big = add("big", kPagesOfGuest);
    std::atomic<int> signal{0};
    auto* const memory = big.memory().data();
    std::thread filler([&] {
      for (std::uint64_t page = 0; page < kPagesOfGuest && signal == 0; ++page)
        signal = test::try_write(memory + page * kPageSize, page + 1).signal;
    });
    EXPECT_TRUE(stops(big));
    if (host_ends) rig_.end();
    else big = Guest();
    filler.join();
    EXPECT_EQ(signal, SIGSEGV);
    if (host_ends) break;
    EXPECT_TRUE(test::eventually([&] { return state() == MemoryState::high; }));
  }
}

// What is reserved stays, and can be used to the last page, though memory is low. Its swap file has room for all of it.
TEST_P(StateLow, ReservationsHoldInLow) {
  auto& reserved = add("reserved", 32 * MiB / kPageSize);
  test::fill_guest(reserved, 3);
  ASSERT_TRUE(reserved.configure({.reservation = 32 * MiB}));
  ASSERT_EQ(reserved.stats()->swap_file, 32 * MiB);
  auto& big = add("big", kPagesOfGuest);
  const auto at = fill_until_low(big);
  Filler filler(rig_.host(), big, at);
  // Its file is left alone for an hour then, and memory stays low, while the other's takes writes.
  EXPECT_TRUE(test::eventually([&] { return big.stats()->swap_failed; }));
  EXPECT_EQ(*reserved.reclaim(32 * MiB), 0u);  // waits for all writes under way: they fail too
  allow_writes();
  for (int i = 0; i < 5; ++i) {
    rig_.tick();
    EXPECT_EQ(state(), MemoryState::low);
    EXPECT_FALSE(reserved.stats()->stopped);
    EXPECT_EQ(*reserved.reclaim(32 * MiB), 0u) << "not even when it is asked for";
    EXPECT_EQ(test::pages_in_memory(reserved), 8192u);
    EXPECT_EQ(test::wrong_in(reserved, 3), "");
  }
  EXPECT_EQ(test::resident_pages(reserved.memory().data(), 8192), 8192u) << "none waits to be written";
  EXPECT_EQ(reserved.stats()->swapped_out, 0u);
  EXPECT_TRUE(test::eventually([&] {
    discard(big, filler.filled());
    return filler.filled() == kPagesOfGuest;
  }));
}

// All changes of the state, and no other: one level a step, down to low and up again.
TEST_P(StateLow, EveryStateOfTheLadderIsPassedDownAndUp) {
  struct Case {
    MemoryLadder ladder;
    double low;  // of the memory
    std::vector<std::string> states;
  };
  for (const auto& c : {Case{MemoryLadder::classic, 0.01, {"soft", "hard", "low", "hard", "soft", "high"}},
                        Case{MemoryLadder::sliding, 0.06 * 0.16,
                             {"clear", "soft", "hard", "low", "hard", "soft", "clear", "high"}}}) {
    SCOPED_TRACE(c.states[0]);
    ASSERT_TRUE(rig_.host().configure({.memory_ladder = c.ladder}));
    auto& big = add("of the ladder beginning with " + c.states[0], kPagesOfGuest);
    rig_.tick();
    const auto before = rig_.events(EventKind::state_changed).size();
    fill_until_low(big, c.low);
    EXPECT_EQ(state(), MemoryState::low);
    discard(big, kPagesOfGuest);
    EXPECT_TRUE(test::eventually([&] { return state() == MemoryState::high; }));
    const auto changes = events(EventKind::state_changed);
    std::vector<std::string> passed;
    std::string now = "high";
    for (std::size_t i = before; i < changes.size(); ++i) {
      passed.push_back(changes[i].mechanism);
      EXPECT_EQ(changes[i].reason.find(now + " -> " + changes[i].mechanism + ": "), 0u) << changes[i].reason;
      now = changes[i].mechanism;
    }
    EXPECT_EQ(passed, c.states);
  }
}

}  // namespace
}  // namespace vmm
