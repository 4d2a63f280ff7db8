// A guest gets another home while it is used: faults, reads and writes of its swap file, seats and promises go with it.
// Two processors of this machine are taken for a node each, so that it is tried also where there is one node; memory
// then cannot move, which tests/numa looks at.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "host/host_core.h"
#include "os/affinity.h"
#include "os/nice.h"
#include "support/call_hook.h"
#include "support/eventually.h"
#include "support/host_rig.h"
#include "support/temp_directory.h"
#include "support/toucher.h"
#include "topology/topology.h"

namespace vmm::test {
namespace {

using stress::core_of;

constexpr std::uint64_t kPages = 2048;

std::vector<int> affinity() { return os::thread_affinity(0).value_or(std::vector<int>{}); }

class Rehoming : public EachWay {
 protected:
  void SetUp() override {
    EachWay::SetUp();
    if (IsSkipped()) return;
    all_ = affinity();
    if (all_.size() < 2 || all_[0] != 0 || all_[1] != 1) GTEST_SKIP() << "needs processors 0 and 1";
    // There is no node 1 to prefer: as where mbind is forbidden.
    hook_.fail(os::Call::mbind, EPERM);
    make([](HostOptions&) {});
  }
  ~Rehoming() override {
    if (host_) static_cast<void>(host_.on_event({}));
  }
  void make(void (*adjust)(HostOptions&), const char* nodes = "node:2 core:1 pu:1") {
    const auto topology = topology::Topology::synthetic(nodes);
    ASSERT_TRUE(topology) << topology.error().message();
    auto o = host_options(directory_.path(), 64 * MiB);
    o.scheduler = Scheduler::manual;
    o.management = Management::at_creation;
    adjust(o);
    auto core = HostCore::create(o, *topology);
    ASSERT_TRUE(core) << core.error().message();
    host_ = stress::host_of(std::move(*core));
    ASSERT_TRUE(host_.on_event([this](const Event& e) { events_.push_back(e); }));
  }
  Guest add(const std::string& name, std::uint64_t pages = kPages, std::vector<int> nodes = {}) {
    auto o = guest_options(name, pages * kPageSize);
    o.large_pages = false;
    o.node_affinity = std::move(nodes);
    auto guest = host_.create_guest(o);
    EXPECT_TRUE(guest) << guest.error().message();
    return guest ? std::move(*guest) : Guest();
  }
  void tick(std::chrono::nanoseconds later = std::chrono::milliseconds(1)) {
    now_ = std::max<std::chrono::nanoseconds>(now_, std::chrono::steady_clock::now().time_since_epoch()) + later;
    const auto r = host_.tick(now_);
    EXPECT_TRUE(r) << r.error().message();
  }
  std::vector<Event> events(EventKind kind) {
    std::vector<Event> some;
    std::copy_if(events_.begin(), events_.end(), std::back_inserter(some),
                 [&](const Event& e) { return e.kind == kind; });
    return some;
  }
  static int home(const Guest& guest) { return guest.stats()->home_node; }

  std::vector<int> all_;
  CallHook hook_;
  const TempDirectory directory_;
  std::vector<Event> events_;
  std::chrono::nanoseconds now_{};
  Host host_;
};
VMM_EACH_WAY(Rehoming);

TEST_P(Rehoming, EverythingGoesWithTheGuest) {
  auto guest = add("g");
  fill_guest(guest, 1);
  ASSERT_EQ(home(guest), 0);
  for (int round = 0; round < 6; ++round) {
    const int to = 1 - round % 2;
    HostRig::reclaim_all(guest);
    auto r = guest.rehome(to);
    ASSERT_TRUE(r) << r.error().message();
    EXPECT_EQ(home(guest), to);
    EXPECT_EQ(core_of(guest)->node().node.id, to);
    EXPECT_EQ(wrong_in(guest, 1, static_cast<std::uint64_t>(round) + 1), "") << "read back by the new home's threads";
    fill_guest(guest, 1, static_cast<std::uint64_t>(round) + 2);
    const auto stats = *host_.stats();
    ASSERT_EQ(stats.homes.size(), 2u);
    EXPECT_EQ(stats.homes[static_cast<std::size_t>(to)].promised, kPages * kPageSize);
    EXPECT_EQ(stats.homes[static_cast<std::size_t>(to)].guests, 1u);
    EXPECT_EQ(stats.homes[static_cast<std::size_t>(1 - to)].promised, 0u);
  }
  EXPECT_EQ(guest.stats()->migrations, 6u);
  ASSERT_TRUE(guest.rehome(home(guest)));
  EXPECT_EQ(guest.stats()->migrations, 6u) << "it is there already";
  tick();
  const auto told = events(EventKind::guest_rehomed);
  ASSERT_EQ(told.size(), 6u);
  EXPECT_EQ(told[0].guest, "g");
  EXPECT_EQ(told[0].mechanism, "asked");
  EXPECT_EQ(told[0].reason.find("from node 0 to node 1: "), 0u) << told[0].reason;
}

// A guest that is native has no faults to answer; it changes its home all the same.
TEST_P(Rehoming, ANativeGuestIsManagedByItsNewHome) {
  host_ = Host();
  make([](HostOptions& o) { o.management = Management::on_demand; });
  auto guest = add("g");
  fill_guest(guest, 1);
  ASSERT_FALSE(guest.stats()->managed);
  ASSERT_TRUE(guest.rehome(1));
  EXPECT_FALSE(guest.stats()->managed);
  EXPECT_GT(HostRig::reclaim_all(guest), 0u);
  EXPECT_EQ(wrong_in(guest, 1), "");
}

TEST_P(Rehoming, SeatsGoToTheNewHomesProcessors) {
  auto guest = add("g");
  auto seat = guest.attach_current_thread();
  ASSERT_TRUE(seat) << seat.error().message();
  EXPECT_EQ(affinity(), std::vector<int>{0});
  ASSERT_TRUE(guest.rehome(1));
  EXPECT_EQ(affinity(), std::vector<int>{1});
  seat->release();
  EXPECT_EQ(affinity(), all_) << "what it came with";
  auto measured = guest.attach_current_thread(Attach::measure_only);
  ASSERT_TRUE(measured);
  ASSERT_TRUE(guest.rehome(0));
  EXPECT_EQ(affinity(), all_);
}

// The fault had been read from the descriptor by the old home's thread, which could not answer it.
TEST_P(Rehoming, AFaultThatWaitsIsAnsweredByTheNewHome) {
  auto guest = add("g");
  auto& memory = core_of(guest)->memory();
  memory.arbitration.stopped = true;
  std::atomic<bool> done{false};
  std::thread toucher([&] {
    fill_page(page_at(guest, 7), 1, 7, 1);
    done = true;
  });
  ASSERT_TRUE(eventually([&] { return memory.counters.faults > 0; }));
  const auto before = memory.counters.faults.load();
  ASSERT_TRUE(guest.rehome(1));
  EXPECT_TRUE(eventually([&] { return memory.counters.faults > before; })) << "it is asked for again";
  EXPECT_FALSE(done);
  memory.arbitration.stopped = false;
  core_of(guest)->host().stops_ended();
  toucher.join();
  EXPECT_EQ(wrong_page(page_at(guest, 7), 1, 7, 1), "");
}

// The old home's thread stands inside an answer: the new home waits for it, and nothing is answered twice.
TEST_P(Rehoming, AnAnswerUnderWayIsWaitedFor) {
  auto guest = add("g");
  hook_.hold(os::Call::uffd_copy, "vmm-fault/0");
  std::thread toucher([&] { fill_page(page_at(guest, 3), 1, 3, 1); });
  ASSERT_TRUE(eventually([&] { return hook_.held() > 0; }));
  std::atomic<bool> homed{false};
  std::thread mover([&] {
    EXPECT_TRUE(guest.rehome(1));
    homed = true;
  });
  std::thread other([&] { fill_page(page_at(guest, 900), 1, 900, 1); });
  EXPECT_FALSE(homed);
  hook_.release();
  toucher.join();
  mover.join();
  other.join();
  EXPECT_EQ(wrong_page(page_at(guest, 3), 1, 3, 1), "");
  EXPECT_EQ(wrong_page(page_at(guest, 900), 1, 900, 1), "");
}

TEST_P(Rehoming, ManyTimesWhileEverythingGoesOn) {
  auto guest = add("g", 6 * kPages);  // 48 MiB in 64, beside one of 32
  auto other = add("other", 4 * kPages);
  fill_guest(other, 9);
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  {
    Toucher writer(guest, 1, 0, 2 * kPages), reader_writer(guest, 1, 2 * kPages, 2 * kPages);
    Toucher presser(other, 9, 0, 4 * kPages);
    threads.emplace_back([&] {
      base::Random random(1);
      while (!over) {
        EXPECT_TRUE(guest.reclaim((1 + random.below(kPages)) * kPageSize));
        EXPECT_TRUE(guest.prefetch(0, kPages * kPageSize));
        EXPECT_TRUE(guest.discard((4 * kPages + random.below(kPages)) * kPageSize, kPageSize));
        auto pin = guest.pin((5 * kPages + random.below(64)) * kPageSize, 4 * kPageSize);
        EXPECT_TRUE(pin) << pin.error().message();
        EXPECT_TRUE(guest.stats());
      }
    });
    threads.emplace_back([&] {
      while (!over) EXPECT_TRUE(guest.restore());
    });
    threads.emplace_back([&] {
      while (!over) {
        auto seat = guest.attach_current_thread();
        EXPECT_TRUE(seat) << seat.error().message();
        EXPECT_TRUE(seat && guest.stats()->attached_threads > 0);
      }
    });
    for (int i = 0; i < 60; ++i) {
      const auto touches = writer.touches();
      ASSERT_TRUE(guest.rehome(1 - i % 2));
      EXPECT_TRUE(eventually([&] { return writer.touches() > touches + 50; })) << "its threads get on";
    }
    over = true;
    for (auto& t : threads) t.join();
  }
  EXPECT_EQ(affinity(), all_);
  for (std::uint64_t page = 0; page < 4 * kPages; ++page)
    ASSERT_EQ(wrong_page(page_at(guest, page), 1, page, 1), "") << page;
  EXPECT_EQ(wrong_in(other, 9), "");
  EXPECT_EQ(guest.stats()->migrations, 60u);
}

// All that was asked for leaves, or comes back, whoever does it.
TEST_P(Rehoming, ReclaimAndRestoreGoOnAtTheNewHome) {
  auto guest = add("g");
  fill_guest(guest, 1);
  std::atomic<bool> over{false};
  std::atomic<int> homes{0};
  std::thread mover([&] {
    for (int i = 0; !over; ++i) {
      EXPECT_TRUE(guest.rehome(1 - i % 2));
      ++homes;
    }
  });
  for (int i = 0; i < 10; ++i) {
    const auto seen = homes.load();
    EXPECT_TRUE(eventually([&] { return homes > seen; }));
    EXPECT_TRUE(HostRig::reclaim_down_to(guest, 0));
    EXPECT_TRUE(guest.restore());
    EXPECT_EQ(guest.stats()->swapped, 0u);
    EXPECT_EQ(wrong_in(guest, 1), "");
  }
  over = true;
  mover.join();
}

TEST_P(Rehoming, ItsGuestMayEndMeanwhile) {
  for (int i = 0; i < 20; ++i) {
    auto guest = add("g");
    fill_guest(guest, 1);
    std::atomic<bool> begun{false};
    const auto core = core_of(guest);
    std::thread mover([&] {
      for (int to = 1;; to = 1 - to) {
        const auto r = core->rehome(to);
        begun = true;
        if (r) continue;
        EXPECT_EQ(r.error().code, Errc::inert_handle) << r.error().message();
        return;
      }
    });
    EXPECT_TRUE(eventually([&] { return begun.load(); }));
    if (i % 2 == 0) guest = Guest();
    else host_ = Host();
    mover.join();
    guest = Guest();
    if (!host_) make([](HostOptions&) {});
  }
}

TEST_P(Rehoming, BadInputChangesNothing) {
  auto guest = add("g", kPages, {0, 1});
  fill_guest(guest, 1);
  const auto refused = [&](int node, int code, const std::string& text) {
    const auto r = guest.rehome(node);
    ASSERT_FALSE(r) << node;
    EXPECT_EQ(r.error().code.value(), code) << r.error().message();
    EXPECT_NE(r.error().message().find(text), std::string::npos) << r.error().message();
    EXPECT_EQ(home(guest), 0);
  };
  refused(7, ENODEV, "node = 7");
  refused(-1, ENODEV, "node = -1");
  ASSERT_TRUE(guest.configure({.node_affinity = std::vector<int>{0}}));
  refused(1, EINVAL, "outside its node_affinity");
  const auto bad = guest.configure({.node_affinity = std::vector<int>{5}});
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code.value(), ENODEV);
  EXPECT_NE(bad.error().message().find("GuestOptions::node_affinity = 5"), std::string::npos);
  ASSERT_TRUE(guest.configure({.node_affinity = std::vector<int>{}}));
  // A thread that may not run there.
  ASSERT_TRUE(os::set_thread_affinity(0, {0}));
  {
    auto seat = guest.attach_current_thread();
    ASSERT_TRUE(seat);
    refused(1, EINVAL, "has no processor of home node 1");
  }
  ASSERT_TRUE(os::set_thread_affinity(0, all_));
  // What the kernel refuses.
  hook_.fail(os::Call::epoll_ctl, ENOSPC, 1);
  refused(1, ENOSPC, "epoll_ctl");
  hook_.fail(os::Call::mbind, ENOMEM, 1);
  refused(1, ENOMEM, "mbind");
  hook_.fail(os::Call::mbind, EPERM);
  EXPECT_EQ(wrong_in(guest, 1), "");
  EXPECT_TRUE(guest.rehome(1));
  EXPECT_EQ(wrong_in(guest, 1), "");
  EXPECT_EQ(host_.stats()->homes[1].promised, kPages * kPageSize);
  Guest none;
  EXPECT_EQ(none.rehome(0).error().code, Errc::inert_handle);
}

// One that is confined to another node goes there.
TEST_P(Rehoming, AffinityThatExcludesTheHomeMovesTheGuest) {
  auto guest = add("g");
  fill_guest(guest, 1);
  ASSERT_TRUE(guest.configure({.node_affinity = std::vector<int>{1}}));
  EXPECT_EQ(home(guest), 1);
  tick();
  const auto told = events(EventKind::guest_rehomed);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].mechanism, "affinity");
  EXPECT_EQ(wrong_in(guest, 1), "");
}

// Both busy guests are on one node, since the other's has gone: one of them is moved, and only one.
class Balancing : public Rehoming {
 protected:
  // A thread in the guest's seat that works until told.
  class Busy {
   public:
    explicit Busy(Guest& guest) : thread_([this, &guest] { run(guest); }) {
      EXPECT_TRUE(eventually([&] { return seated_.load(); }));
    }
    ~Busy() {
      over_ = true;
      thread_.join();
    }
    int tid() const { return tid_; }
    // As the kernel says.
    int nice() const { return os::thread_nice(tid_).value_or(-100); }
    // It works on.
    void leave_seat() {
      leaves_ = true;
      EXPECT_TRUE(eventually([&] { return !seated_.load(); }));
    }

   private:
    void run(Guest& guest) {
      tid_ = os::current_tid();
      auto seat = guest.attach_current_thread();
      EXPECT_TRUE(seat) << seat.error().message();
      seated_ = true;
      while (!over_) {
        benign_ = benign_ + 1;
        if (!leaves_.exchange(false)) continue;
        seat->release();
        seated_ = false;
      }
    }
    std::atomic<int> tid_{0};
    std::atomic<bool> over_{false}, seated_{false}, leaves_{false};
    volatile std::uint64_t benign_ = 0;
    std::thread thread_;
  };

  // The scheduler's, when the guests' threads have worked for 10 ms more.
  void look(const std::vector<Guest*>& guests) {
    const auto worked = [&] {
      std::uint64_t ns = 0;
      for (auto* guest : guests) ns += guest->stats()->attached_cpu_ns;
      return ns;
    };
    const auto before = worked();
    EXPECT_TRUE(eventually([&] { return worked() > before + 10'000'000; }));
    tick();
  }

  const int nice_ = os::thread_nice(0).value_or(-100);
};
VMM_EACH_WAY(Balancing);

TEST_P(Balancing, BusyGuestsAreSpread) {
  auto a = add("a"), idle_a = add("idle-a"), b = add("b"), idle_b = add("idle-b");
  ASSERT_EQ(home(a), 0);
  ASSERT_EQ(home(b), 0);
  ASSERT_TRUE(b.configure({.rebalance = false}));
  ASSERT_TRUE(a.configure({.rebalance = false}));
  Busy busy_a(a), busy_b(b);
  // The scheduler has seen them work, more than once.
  const auto seen_busy = [&](int times) {
    return eventually([&] {
      tick();
      times -= host_.stats()->homes[0].load > 0.2 ? 1 : 0;
      return times <= 0;
    });
  };
  EXPECT_TRUE(seen_busy(3));
  EXPECT_EQ(home(a) + home(b), 0) << "switched off";
  ASSERT_TRUE(host_.configure({.rebalance = false}));
  ASSERT_TRUE(a.configure({.rebalance = true}));
  ASSERT_TRUE(b.configure({.rebalance = true}));
  EXPECT_TRUE(seen_busy(3));
  EXPECT_EQ(home(a) + home(b), 0) << "switched off for all";
  ASSERT_TRUE(host_.configure({.rebalance = true}));
  EXPECT_TRUE(eventually([&] {
    tick();
    return home(a) + home(b) == 1;
  }));
  for (int i = 0; i < 20; ++i) tick();
  EXPECT_EQ(home(a) + home(b), 1);
  const auto told = events(EventKind::guest_rehomed);
  ASSERT_GE(told.size(), 1u);
  EXPECT_EQ(told[0].mechanism, "balance");
  EXPECT_NE(told[0].reason.find("%"), std::string::npos) << "with figures: " << told[0].reason;
}

// With threads of its own: one decides, another changes homes.
TEST_P(Balancing, TheSchedulerSpreadsThemByItself) {
  host_ = Host();
  make([](HostOptions& o) {
    o.scheduler = Scheduler::automatic;
    o.rebalance_period = std::chrono::milliseconds(100);
  });
  ASSERT_TRUE(host_.on_event({}));
  auto a = add("a", kPages, {0}), b = add("b", kPages, {0});
  fill_guest(a, 1);
  fill_guest(b, 2);
  Busy busy_a(a), busy_b(b);
  EXPECT_TRUE(eventually([&] { return host_.stats()->homes[0].load > 1.2; }));
  EXPECT_EQ(home(a) + home(b), 0) << "confined";
  for (auto* guest : {&a, &b}) ASSERT_TRUE(guest->configure({.node_affinity = std::vector<int>{}}));
  EXPECT_TRUE(eventually([&] { return home(a) + home(b) == 1; }));
  EXPECT_EQ(wrong_in(a, 1), "");
  EXPECT_EQ(wrong_in(b, 2), "");
}

// Of two that change places both do, or neither.
TEST_P(Balancing, HalfAnExchangeIsTakenBack) {
  auto a = add("a", kPages, {0}), b = add("b", kPages, {1});
  fill_guest(a, 1);
  fill_guest(b, 2);
  for (auto* guest : {&a, &b}) ASSERT_TRUE(guest->configure({.node_affinity = std::vector<int>{}}));
  const auto exchange = [&] {
    core_of(host_)->make_moves({{core_of(a), 0, 1, "swap", "a"}, {core_of(b), 1, 0, "swap", "b"}});
    return std::pair(home(a), home(b));
  };
  ASSERT_TRUE(b.configure({.rebalance = false}));
  EXPECT_EQ(exchange(), std::pair(0, 1));
  EXPECT_EQ(a.stats()->migrations, 2u) << "there and back";
  EXPECT_EQ(b.stats()->migrations, 0u);
  ASSERT_TRUE(b.configure({.rebalance = true}));
  tick(std::chrono::minutes(10));  // when it has cooled down
  EXPECT_EQ(exchange(), std::pair(1, 0));
  EXPECT_EQ(wrong_in(a, 1), "");
  EXPECT_EQ(wrong_in(b, 2), "");
}

// Of two busy guests on one processor, one with four times the shares.
TEST_P(Balancing, WithCpuWeightsThreadsHaveNiceValuesByShares) {
  if (!os::can_lower_nice(nice_).value_or(false)) GTEST_SKIP() << "this process may not lower nice values";
  make([](HostOptions& o) { o.cpu_weights = true; }, "node:1 core:1 pu:1");
  auto large = add("large", kPages, {0}), small = add("small", kPages, {0});
  ASSERT_TRUE(large.configure({.shares = Shares::custom(4000)}));
  ASSERT_TRUE(small.configure({.shares = Shares::custom(1000)}));
  {
    Busy busy_large(large), busy_small(small);
    // Of what is behind, up to two steps may be taken away for a while.
    EXPECT_TRUE(eventually([&] {
      look({&large, &small});
      return busy_small.nice() - busy_large.nice() >= 4 && large.stats()->thread_nice == busy_large.nice() - nice_ &&
             small.stats()->thread_nice == busy_small.nice() - nice_;
    }));
    EXPECT_GE(busy_large.nice(), nice_) << "nobody is put before others";
    ASSERT_TRUE(large.configure({.shares = Shares::custom(1000)}));
    ASSERT_TRUE(small.configure({.shares = Shares::custom(4000)}));
    EXPECT_TRUE(eventually([&] {
      look({&large, &small});
      return busy_large.nice() - busy_small.nice() >= 4;
    }));
    EXPECT_EQ(os::thread_nice(0).value_or(-100), nice_) << "other threads keep theirs";
    busy_large.leave_seat();
    EXPECT_EQ(busy_large.nice(), nice_) << "who leaves gets its own back";
    // There is enough for who is alone.
    EXPECT_TRUE(eventually([&] {
      look({&large, &small});
      return busy_small.nice() == nice_;
    }));
  }
}

// One thread's own value could not be given back: it keeps it, and its owner is told, once.
TEST_P(Balancing, AThreadThatCannotBeWeighedIsLeftAloneWithAnEvent) {
  if (!os::can_lower_nice(nice_).value_or(false)) GTEST_SKIP() << "this process may not lower nice values";
  make([](HostOptions& o) { o.cpu_weights = true; }, "node:1 core:1 pu:1");
  auto large = add("large", kPages, {0}), small = add("small", kPages, {0});
  ASSERT_TRUE(large.configure({.shares = Shares::custom(4000)}));
  Busy busy_large(large), busy_small(small);
  hook_.fail(os::Call::setpriority, EACCES);
  EXPECT_TRUE(eventually([&] {
    look({&large, &small});
    return !events(EventKind::not_weighed).empty();
  }));
  const auto told = events(EventKind::not_weighed);
  EXPECT_NE(told[0].reason.find("CAP_SYS_NICE"), std::string::npos) << told[0].reason;
  hook_.fail(os::Call::setpriority, EACCES, 0);
  const auto refused = told[0].guest;
  for (int i = 0; i < 10; ++i) tick();
  EXPECT_EQ((refused == "small" ? busy_small : busy_large).nice(), nice_);
}

// What the owner gives a thread meanwhile is its own from then on.
TEST_P(Balancing, ANiceValueThatItsOwnerGivesAThreadStays) {
  if (!os::can_lower_nice(nice_).value_or(false)) GTEST_SKIP() << "this process may not lower nice values";
  make([](HostOptions& o) { o.cpu_weights = true; }, "node:1 core:1 pu:1");
  auto large = add("large", kPages, {0}), small = add("small", kPages, {0});
  ASSERT_TRUE(large.configure({.shares = Shares::custom(8000)}));
  Busy busy_large(large), busy_small(small);
  EXPECT_TRUE(eventually([&] {
    look({&large, &small});
    return busy_small.nice() > nice_ + 2;
  }));
  ASSERT_TRUE(os::set_thread_nice(busy_small.tid(), nice_ + 1));
  busy_small.leave_seat();
  EXPECT_EQ(busy_small.nice(), nice_ + 1);
}

TEST_P(Balancing, CpuWeightsThatCouldNotBeTakenBackAreRefused) {
  hook_.fail(os::Call::setpriority, EACCES);
  auto o = host_options(directory_.path(), 64 * MiB);
  o.cpu_weights = true;
  const auto host = Host::create(o);
  ASSERT_FALSE(host);
  EXPECT_NE(host.error().message().find("HostOptions::cpu_weights"), std::string::npos) << host.error().message();
  EXPECT_NE(host.error().message().find("CAP_SYS_NICE"), std::string::npos) << host.error().message();
}

}  // namespace
}  // namespace vmm::test
