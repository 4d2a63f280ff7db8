// Guests that change their homes on a machine of several nodes: load is balanced, memory follows, threads run there.
// Where pages are is asked of the kernel.
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/mapping.h"
#include "stress/peek.h"
#include "support/eventually.h"
#include "support/host_rig.h"
#include "support/http_client.h"
#include "support/kernel_view.h"
#include "support/numa.h"
#include "support/temp_directory.h"
#include "vmm/vmm.h"

namespace vmm::test {
namespace {

using testing::Contains;
using testing::Each;
using testing::HasSubstr;

constexpr std::uint64_t kMemory = 64 * MiB, kPages = kMemory / kPageSize;

// An emulated machine shares its processors with whatever else is tested.
template <class Condition>
bool in_time(Condition condition) {
  return eventually(condition, std::chrono::seconds(300));
}

// A thread in a seat of the guest, that works until it is told.
class Busy {
 public:
  // Adds to a word of each page in turn, if it is to write, else it only computes.
  explicit Busy(Guest& guest, bool writes = false) : guest_(guest), writes_(writes), thread_([this] { run(); }) {
    EXPECT_TRUE(in_time([&] { return seated_.load(); }));
  }
  ~Busy() { stop(); }
  void stop() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int processor() const { return processor_.load(); }
  std::uint64_t rounds() const { return rounds_.load(); }
  // What a page's word should hold, after stop().
  const std::vector<std::uint64_t>& added() const { return added_; }

 private:
  void run() {
    auto seat = guest_.attach_current_thread();
    EXPECT_TRUE(seat) << seat.error().message();
    seated_ = true;
    const auto memory = guest_.memory();
    const auto pages = memory.size() / kPageSize;
    added_.resize(pages);
    for (std::uint64_t page = 0; !over_; page = (page + 61) % pages) {
      if (writes_) {
        auto* word = reinterpret_cast<std::uint64_t*>(memory.data() + page * kPageSize);
        std::atomic_ref<std::uint64_t>(*word).fetch_add(1, std::memory_order_relaxed);
        ++added_[page];
      }
      processor_.store(::sched_getcpu(), std::memory_order_relaxed);
      rounds_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  Guest& guest_;
  const bool writes_;
  std::vector<std::uint64_t> added_;
  std::atomic<bool> over_{false}, seated_{false};
  std::atomic<int> processor_{-1};
  std::atomic<std::uint64_t> rounds_{0};
  std::thread thread_;
};

// One way of isolation: homes know nothing of it but that pages are in staging.
class HomeChange : public SeveralNodes {
 protected:
  void SetUp() override {
    SeveralNodes::SetUp();
    if (IsSkipped()) return;
    homes_ = home_nodes();
    if (homes_.size() < 2) GTEST_SKIP() << "one node only has processors";
    first_ = homes_[0];
    second_ = homes_[1];
  }
  ~HomeChange() override {
    if (host_) static_cast<void>(host_.on_event({}));
  }
  void make(void (*adjust)(HostOptions&) = nullptr) {
    HostOptions o;
    o.memory = 192 * MiB;
    o.swap_directory = directory_.path();
    o.management = Management::at_creation;
    if (adjust != nullptr) adjust(o);
    auto host = Host::create(o);
    ASSERT_TRUE(host) << host.error().message();
    host_ = std::move(*host);
    ASSERT_TRUE(host_.on_event([this](const Event& e) {
      const std::lock_guard lock(mutex_);
      events_.push_back(e);
      told_.notify_all();
    }));
  }
  static void by_hand(HostOptions& o) { o.scheduler = Scheduler::manual; }
  // The default where the figures are promised; elsewhere everything goes on as in it, in a quarter of the time.
  static void periods(HostOptions& o) {
    const char* rig = std::getenv("VMM_RIG");
    if (rig != nullptr && std::string(rig) != "four_nodes") o.rebalance_period = std::chrono::milliseconds(500);
  }
  Guest add(const std::string& name, std::uint64_t memory, std::vector<int> nodes = {}) {
    GuestOptions o;
    o.name = name;
    o.memory = memory;
    o.large_pages = false;
    o.node_affinity = std::move(nodes);
    auto guest = host_.create_guest(o);
    EXPECT_TRUE(guest) << guest.error().message();
    return guest ? std::move(*guest) : Guest();
  }
  static int home(const Guest& guest) { return guest.stats()->home_node; }
  static std::uint64_t pages_on(const Guest& guest, int node) {
    return pages_on_node(guest.memory().data(), guest.memory().size() / kPageSize, node);
  }
  std::vector<Event> events(EventKind kind) {
    const std::lock_guard lock(mutex_);
    std::vector<Event> some;
    std::copy_if(events_.begin(), events_.end(), std::back_inserter(some),
                 [&](const Event& e) { return e.kind == kind; });
    return some;
  }
  // Looks whenever an event is told, and does not keep a processor busy until then: pages move slowly on an emulated
  // machine whose processors all run the process, for each must be told of each page.
  template <class Condition>
  bool by_an_event(Condition condition) {
    std::unique_lock lock(mutex_);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(300);
    for (;;) {
      const auto seen = events_.size();
      lock.unlock();
      if (condition()) return true;
      lock.lock();
      if (!told_.wait_until(lock, until, [&] { return events_.size() != seen; })) return false;
    }
  }
  std::string told_of_migration(const Guest& guest) {
    const auto s = *guest.stats();
    auto text = "local " + std::to_string(s.local) + ", migrated " + std::to_string(s.migrated) + ", pinned " +
                std::to_string(s.migration_pinned) + ", no memory " + std::to_string(s.migration_no_memory) +
                ", refused " + std::to_string(s.migration_refused) + ", rate " + std::to_string(s.migration_rate);
    for (const auto& e : events(EventKind::guest_migrated)) text += "; " + e.reason;
    return text;
  }
  // A period, in which every guest of those has worked.
  void period(const std::vector<Guest*>& busy) {
    std::vector<std::uint64_t> before;
    for (auto* g : busy) before.push_back(g->stats()->attached_cpu_ns);
    EXPECT_TRUE(in_time([&] {
      for (std::size_t i = 0; i < busy.size(); ++i)
        if (busy[i]->stats()->attached_cpu_ns < before[i] + 100'000'000) return false;
      return true;
    }));
    const auto r = host_.tick(std::chrono::steady_clock::now().time_since_epoch());
    EXPECT_TRUE(r) << r.error().message();
  }

  std::vector<int> homes_;
  int first_ = -1, second_ = -1;
  const TempDirectory directory_;
  std::mutex mutex_;
  std::condition_variable told_;
  std::vector<Event> events_;
  Host host_;
};

// The documents' example: four guests on two nodes, two each; both of one node stop.
TEST_F(HomeChange, WhenBothGuestsOfANodeStopTheOthersSpread) {
  make([](HostOptions& o) {
    by_hand(o);
    o.rebalance_cool_down = std::chrono::milliseconds(1);
  });
  std::array<Guest, 4> guests;
  std::array<std::unique_ptr<Busy>, 4> busy;
  for (std::size_t i = 0; i < guests.size(); ++i) {
    guests[i] = add("g" + std::to_string(i), 4 * MiB, {first_, second_});
    fill_guest(guests[i], i);
  }
  ASSERT_EQ(home(guests[0]), home(guests[2]));
  ASSERT_EQ(home(guests[1]), home(guests[3]));
  for (std::size_t i = 0; i < guests.size(); ++i) busy[i] = std::make_unique<Busy>(guests[i]);
  const auto two_each = [&] {
    return std::count_if(guests.begin(), guests.end(), [&](const Guest& g) { return home(g) == first_; }) == 2;
  };
  for (int i = 0; i < 3; ++i) period({&guests[0], &guests[1], &guests[2], &guests[3]});
  // On an emulated machine two threads of four may have been seen to run far less than the others, and been moved.
  EXPECT_TRUE(in_time([&] {
    if (two_each()) return true;
    period({&guests[0], &guests[1], &guests[2], &guests[3]});
    return false;
  }));
  const auto stays = home(guests[0]);
  std::vector<std::size_t> left;
  for (std::size_t i = 0; i < guests.size(); ++i) {
    if (home(guests[i]) == stays) left.push_back(i);
    else busy[i].reset();
  }
  ASSERT_EQ(left.size(), 2u);
  auto &a = guests[left[0]], &c = guests[left[1]];
  const auto moved_before = events(EventKind::guest_rehomed).size();
  int periods = 0;
  while (home(a) == home(c) && periods < 10) {
    period({&a, &c});
    ++periods;
  }
  // One more than three: in the first the others have worked still.
  EXPECT_LE(periods, 4);
  const auto one = home(a), other = home(c);
  EXPECT_NE(one, other);
  for (int i = 0; i < 5; ++i) period({&a, &c});
  EXPECT_EQ(home(a), one) << "and stays so";
  EXPECT_EQ(home(c), other);
  EXPECT_THAT(processors_of_node(one), Contains(busy[left[0]]->processor()));
  EXPECT_THAT(processors_of_node(other), Contains(busy[left[1]]->processor()));
  const auto told = events(EventKind::guest_rehomed);
  ASSERT_EQ(told.size(), moved_before + 1);
  EXPECT_EQ(told.back().mechanism, "balance");
  EXPECT_THAT(told.back().reason, HasSubstr("%"));
  for (std::size_t i = 0; i < guests.size(); ++i) EXPECT_EQ(wrong_in(guests[i], i), "");
}

// All guests begin on one node, and are free to go anywhere then.
TEST_F(HomeChange, AnImbalanceIsCorrectedWithinThreePeriods) {
  make(by_hand);
  auto a = add("a", 4 * MiB, {first_}), b = add("b", 4 * MiB, {first_});
  Busy busy_a(a), busy_b(b);
  for (int i = 0; i < 3; ++i) period({&a, &b});
  ASSERT_EQ(home(a), first_);
  ASSERT_EQ(home(b), first_) << "confined";
  for (auto* g : {&a, &b}) ASSERT_TRUE(g->configure({.node_affinity = std::vector<int>{}}));
  for (int i = 0; i < 3; ++i) period({&a, &b});
  EXPECT_NE(home(a), home(b));
  EXPECT_EQ(events(EventKind::guest_rehomed).size(), 1u);
  for (const int memory_only : memory_only_nodes()) {
    EXPECT_NE(home(a), memory_only);
    EXPECT_NE(home(b), memory_only);
    EXPECT_EQ(a.rehome(memory_only).error().code.value(), ENODEV);
  }
}

// How fast is the benchmark's to say (group migration).
TEST_F(HomeChange, MemoryFollows) {
  make(periods);
  auto guest = add("g", kMemory, {first_, second_});
  fill_guest(guest, 1);
  const auto pages = guest.memory();
  for (std::uint64_t page = 0; page < kPages; ++page)
    *reinterpret_cast<std::uint64_t*>(pages.data() + page * kPageSize) = 0;
  const int from = home(guest), to = from == first_ ? second_ : first_;
  ASSERT_EQ(pages_on(guest, from), kPages);
  Busy writer(guest, true);
  ASSERT_TRUE(guest.rehome(to));
  EXPECT_TRUE(by_an_event([&] { return guest.stats()->migrated >= kMemory / 100 * 99; }))
      << told_of_migration(guest);
  EXPECT_GE(pages_on(guest, to), kPages / 100 * 99)
      << pages_on(guest, to) << " of " << kPages << "; " << told_of_migration(guest);
  const auto rounds = writer.rounds();
  EXPECT_TRUE(in_time([&] { return writer.rounds() > rounds + 100; }));
  EXPECT_THAT(processors_of_node(to), Contains(writer.processor()));
  writer.stop();
  // All of it, in the end; and the figures say the same as the kernel.
  EXPECT_TRUE(in_time([&] { return pages_on(guest, to) == kPages; }));
  EXPECT_TRUE(in_time([&] { return guest.stats()->local == guest.stats()->resident; }));
  const auto s = *guest.stats();
  EXPECT_EQ(s.remote, 0u);
  EXPECT_EQ(s.migrations, 1u);
  EXPECT_LE(s.migrated, kMemory + kMemory / 16);
  EXPECT_GE(s.migrated, kMemory - kMemory / 16);
  for (std::uint64_t page = 0; page < kPages; ++page)
    ASSERT_EQ(*reinterpret_cast<std::uint64_t*>(pages.data() + page * kPageSize), writer.added()[page]) << page;
  EXPECT_TRUE(in_time([&] { return !events(EventKind::guest_migrated).empty(); }));
}

// Who can use the socket gives a guest another home; the kernel says where it takes its pages from then.
TEST_F(HomeChange, AskedForThroughTheSocket) {
  const auto socket = directory_.file("host.vmm");
  HostOptions o;
  o.memory = 192 * MiB;
  o.swap_directory = directory_.path();
  o.stats_socket = socket;
  o.stats_control = true;
  auto host = Host::create(o);
  ASSERT_TRUE(host) << host.error().message();
  host_ = std::move(*host);
  auto guest = add("moved", 8 * MiB, {first_, second_});
  const int from = home(guest), to = from == first_ ? second_ : first_;
  const auto reply = http_post(socket, "/control/rehome?guest=moved&node=" + std::to_string(to));
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(home(guest), to);
  EXPECT_EQ(guest.stats()->migrations, 1U);
  fill_guest(guest, 1);
  EXPECT_EQ(pages_on(guest, to), guest.memory().size() / kPageSize);
  const auto nodes = "\"home_node\":" + std::to_string(to);
  EXPECT_THAT(http_get(socket, "/stats.json").body, HasSubstr(nodes));
}

// What is only in the swap file, or was never touched, comes to the new home without being moved.
TEST_F(HomeChange, WhatIsSwappedArrivesThere) {
  make([](HostOptions& o) { o.rebalance_period = std::chrono::milliseconds(200); });
  auto guest = add("g", 8 * MiB, {first_, second_});
  const auto pages = guest.memory().size() / kPageSize;
  fill_guest(guest, 1);
  ASSERT_TRUE(HostRig::reclaim_down_to(guest, 0));
  const int to = home(guest) == first_ ? second_ : first_;
  ASSERT_TRUE(guest.rehome(to));
  EXPECT_EQ(wrong_in(guest, 1), "");
  EXPECT_EQ(pages_on(guest, to), pages);
  EXPECT_EQ(guest.stats()->migrated, 0u);
}

// Shared pages come along too: on the new node they are shared with those that are there, and its memory shows them.
TEST_F(HomeChange, SharedPagesAreSharedOnTheNewNode) {
  make([](HostOptions& o) {
    o.rebalance_period = std::chrono::milliseconds(200);
    o.share_scan_ghz = 4;
    o.share_scan_time = std::chrono::hours(24);
  });
  constexpr std::uint64_t kBytes = 8 * MiB, kCommon = 7;
  const auto add_common = [&](const std::string& name, int node) {
    GuestOptions o;
    o.name = name;
    o.memory = kBytes;
    o.large_pages = false;
    o.share_salt = "common";
    o.node_affinity = {node};
    auto guest = host_.create_guest(o);
    EXPECT_TRUE(guest) << guest.error().message();
    fill_guest(*guest, kCommon);
    return std::move(*guest);
  };
  auto a = add_common("a", first_), b = add_common("b", first_), c = add_common("c", second_);
  const auto pages = kBytes / kPageSize;
  EXPECT_TRUE(in_time([&] {
    EXPECT_TRUE(host_.share_now());
    return a.stats()->shared == kBytes && b.stats()->shared == kBytes;
  }));
  EXPECT_EQ(c.stats()->shared, 0u) << "each node has copies of its own";
  // The kernel tells of what is in a guest's page table: what it has read since.
  EXPECT_EQ(wrong_in(a, kCommon), "");
  EXPECT_EQ(pages_on(a, first_), pages);
  ASSERT_TRUE(a.configure({.node_affinity = std::vector<int>{second_}}));
  ASSERT_EQ(home(a), second_);
  EXPECT_EQ(wrong_in(a, kCommon), "");
  // What was shared with the old node's is the guest's own first, as time permits; b is alone there.
  EXPECT_TRUE(in_time([&] {
    EXPECT_TRUE(host_.share_now());
    return a.stats()->shared == kBytes && c.stats()->shared == kBytes && b.stats()->shared == 0;
  }));
  EXPECT_EQ(host_.stats()->share_frames, kBytes);
  for (auto* guest : {&a, &b, &c}) EXPECT_EQ(wrong_in(*guest, kCommon), "");
  EXPECT_EQ(pages_on(a, second_), pages);
  EXPECT_EQ(pages_on(c, second_), pages);
  EXPECT_EQ(pages_on(b, first_), pages);
  // And while it goes to and fro, with a thread that writes.
  Busy writer(a, true);
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(a.configure({.node_affinity = std::vector<int>{i % 2 == 0 ? first_ : second_}}));
    ASSERT_TRUE(host_.share_now());
    const auto rounds = writer.rounds();
    EXPECT_TRUE(in_time([&] { return writer.rounds() > rounds + 100; }));
  }
  writer.stop();
  for (std::uint64_t page = 0; page < pages; ++page) {
    auto* const word = reinterpret_cast<std::uint64_t*>(a.memory().data() + page * kPageSize);
    *word -= writer.added()[page];
  }
  EXPECT_EQ(wrong_in(a, kCommon), "");
  EXPECT_EQ(wrong_in(b, kCommon), "");
}

TEST_F(HomeChange, BackWithinTwoPeriodsDragsLittleAlong) {
  make();  // the longest: a slow machine must not take more than two
  auto guest = add("g", kMemory, {first_, second_});
  fill_guest(guest, 1);
  const int from = home(guest), to = from == first_ ? second_ : first_;
  ASSERT_TRUE(guest.rehome(to));
  // Half a period's worth has gone.
  EXPECT_TRUE(in_time([&] { return guest.stats()->migrated >= kMemory / 100; }));
  ASSERT_TRUE(guest.rehome(from));
  const auto moved = guest.stats()->migrated;
  EXPECT_LT(moved, kMemory / 10);
  EXPECT_EQ(guest.stats()->migration_rate, 0u) << "stops at once";
  EXPECT_GT(pages_on(guest, from), kPages / 10 * 9);
  // In time the little that went comes home as well.
  EXPECT_TRUE(in_time([&] { return pages_on(guest, from) == kPages; }));
  EXPECT_LT(guest.stats()->migrated, kMemory / 10);
  EXPECT_EQ(wrong_in(guest, 1), "");
}

// A huge page may be more than a period's worth: in the first two periods it stays.
TEST_F(HomeChange, HugePagesAreNotDraggedAlongEither) {
  make(by_hand);
  GuestOptions o;
  o.name = "g";
  o.memory = 16 * MiB;
  o.node_affinity = {first_, second_};
  auto guest = host_.create_guest(o);
  ASSERT_TRUE(guest) << guest.error().message();
  fill_guest(*guest, 1);
  const int from = home(*guest), to = from == first_ ? second_ : first_;
  const auto pages = o.memory / kPageSize;
  auto now = std::chrono::steady_clock::now().time_since_epoch();
  const auto period = [&] {
    now = std::max<std::chrono::nanoseconds>(now, std::chrono::steady_clock::now().time_since_epoch()) +
          std::chrono::milliseconds(1'900);
    const auto r = host_.tick(now);
    EXPECT_TRUE(r) << r.error().message();
  };
  ASSERT_TRUE(guest->rehome(to));
  period();
  ASSERT_TRUE(guest->rehome(from));
  EXPECT_LT(guest->stats()->migrated, o.memory / 10);
  EXPECT_GT(pages_on(*guest, from), pages / 10 * 9);
  // Where it stays, all of it follows.
  ASSERT_TRUE(guest->rehome(to));
  EXPECT_TRUE(in_time([&] {
    period();
    return pages_on(*guest, to) == pages;
  })) << told_of_migration(*guest);
  EXPECT_EQ(wrong_in(*guest, 1), "");
}

// In every mapping of it, of its staging area too: what comes later comes there.
TEST_F(HomeChange, ThePolicyGoesWithTheGuest) {
  make();
  auto guest = add("g", 8 * MiB, {first_, second_});
  fill_guest(guest, 1);
  // An advice of its owner for a part of it: three mappings.
  ASSERT_EQ(::madvise(guest.memory().data() + 2 * MiB, 2 * MiB, MADV_HUGEPAGE), 0);
  const int to = home(guest) == first_ ? second_ : first_;
  ASSERT_TRUE(guest.rehome(to));
  const auto wanted = "prefer:" + std::to_string(to);
  auto& memory = stress::memory_of(guest);
  const auto of_memory = mapping_policies(memory.at(0), 8 * MiB);
  const auto of_staging = mapping_policies(memory.staged(0), 8 * MiB);
  EXPECT_GE(of_memory.size(), 3u);
  EXPECT_THAT(of_memory, Each(wanted));
  EXPECT_GE(of_staging.size(), 1u);
  EXPECT_THAT(of_staging, Each(wanted));
  EXPECT_EQ(wrong_in(guest, 1), "");
}

// Never above the configured rate: asked of the kernel while it goes on.
TEST_F(HomeChange, TheConfiguredRateIsKept) {
  make([](HostOptions& o) {
    o.rebalance_period = std::chrono::milliseconds(200);
    o.migration_rate_max = 2;  // MB/s
  });
  auto guest = add("g", kMemory, {first_, second_});
  fill_guest(guest, 1);
  const int to = home(guest) == first_ ? second_ : first_;
  const auto begun = std::chrono::steady_clock::now();
  ASSERT_TRUE(guest.rehome(to));
  for (bool seen = false; !seen;) {
    // Counted first: what comes while the clock is read is in nobody's favour.
    const auto moved = pages_on(guest, to) * kPageSize;
    const std::chrono::duration<double> since = std::chrono::steady_clock::now() - begun;
    ASSERT_LE(static_cast<double>(moved), since.count() * 2e6 + 0.1e6);
    seen = moved >= 6 * MiB;
  }
  // A lower one holds at once.
  ASSERT_TRUE(host_.configure({.migration_rate_max = 0.5}));
  EXPECT_LE(guest.stats()->migration_rate, 500'000u);
  ASSERT_TRUE(host_.configure({.migration_rate_max = 0}));
  EXPECT_TRUE(in_time([&] { return pages_on(guest, to) == kPages; }));
  EXPECT_EQ(wrong_in(guest, 1), "");
}

// Takes memory of a node until little is left there, in small pages: a node in pieces has no huge ones to give.
class Ballast {
 public:
  Ballast(int node, std::uint64_t leave) : node_(node), leave_(leave), pieces_left_(memory_of_node(node) / kPiece) {
    top_up();
  }
  // Also what has come free since.
  void top_up() {
    // Never more than the node has: from a node that has no more to give, whatever it says, they come from the others.
    for (; pieces_left_ > 0 && obtainable_on_node(node_) > leave_ + kPiece; --pieces_left_) {
      auto piece = os::Mapping::anonymous(kPiece);
      if (!piece || ::madvise(piece->data(), piece->size(), MADV_NOHUGEPAGE) != 0 ||
          os::bind_to_node(piece->data(), piece->size(), node_, os::NodePolicy::preferred) != 0)
        return;
      for (std::uint64_t at = 0; at < piece->size(); at += kPageSize) piece->data()[at] = std::byte{1};
      pieces_.push_back(std::move(*piece));
    }
  }

 private:
  static constexpr std::uint64_t kPiece = 4 * MiB;
  const int node_;
  const std::uint64_t leave_;
  std::uint64_t pieces_left_;
  std::vector<os::Mapping> pieces_;
};

TEST_F(HomeChange, AFullNodeTakesAPartAndTheFiguresSaySo) {
  make([](HostOptions& o) {
    o.rebalance_period = std::chrono::milliseconds(200);
    o.min_free = 0;
    o.memory = 288 * MiB;
    o.sample_pages = 0;  // what is watched is in staging
  });
  const int from = first_, to = second_;
  if (memory_of_node(to) > 4 * GiB) GTEST_SKIP() << "it would fill a node of " << memory_of_node(to) / GiB << " GiB";
  // The kernel keeps some 40 MiB of each node to itself, and more for files.
  const std::uint64_t unit = std::min(memory_of_node(from), memory_of_node(to)) < 400 * MiB ? 4 * MiB : 8 * MiB;
  const std::uint64_t large = 16 * unit, large_pages = large / kPageSize;
  GuestOptions o;
  o.name = "bound";
  o.memory = 10 * unit;
  o.bind_memory = true;
  o.node_affinity = {from};
  // First: what the other does not find here it finds elsewhere, and this one does not.
  auto bound = host_.create_guest(o);
  ASSERT_TRUE(bound) << bound.error().message();
  fill_guest(*bound, 2);
  ASSERT_TRUE(bound->configure({.node_affinity = std::vector<int>{}}));
  auto guest = add("g", large, {from});
  fill_guest(guest, 1);
  ASSERT_TRUE(guest.configure({.node_affinity = std::vector<int>{from, to}}));
  {
    // A small node may have had no room for all of it: the others, the new home among them, have some then, which the
    // scheduler tries to bring home.
    const auto elsewhere = large_pages - pages_on(guest, from), already = pages_on(guest, to);
    Ballast ballast(to, 7 * unit);
    const auto refused = bound->rehome(to);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::admission_refused) << refused.error().message();
    EXPECT_EQ(home(*bound), from);
    ASSERT_TRUE(guest.rehome(to));
    // Until the kernel has no more, or the scheduler goes on in small steps for there is so little.
    EXPECT_TRUE(in_time([&] {
      ballast.top_up();
      const auto s = *guest.stats();
      return s.migrated > 0 && (s.migration_no_memory > 0 || s.migration_rate < 1 * MiB);
    }));
    EXPECT_TRUE(in_time([&] {
      const auto there = (pages_on(guest, to) - already) * kPageSize, told = guest.stats()->migrated;
      return elsewhere == 0 ? told == there : told >= there;
    }));
    // A pass that the kernel has ended has counted all that stayed.
    const auto s = *guest.stats();
    if (s.migration_no_memory > 0) {
      const auto left = large - elsewhere * kPageSize - s.migrated;
      EXPECT_TRUE(in_time([&] { return guest.stats()->migration_no_memory >= left / 10 * 9; }));
    }
    const auto there = pages_on(guest, to);
    EXPECT_GT(there, 0u);
    EXPECT_LT(there, large_pages) << "a part; the node says it has " << obtainable_on_node(to) << " bytes more";
    EXPECT_GE(there + pages_on(guest, from), large_pages - elsewhere) << "and nothing anywhere else";
    EXPECT_EQ(wrong_in(guest, 1), "");
  }
  EXPECT_TRUE(in_time([&] { return pages_on(guest, to) == large_pages; })) << "when there is room again";
  EXPECT_EQ(wrong_in(guest, 1), "");
  ASSERT_TRUE(bound->rehome(to));
  EXPECT_TRUE(in_time([&] { return pages_on(*bound, to) == 10 * unit / kPageSize; }));
  EXPECT_EQ(wrong_in(*bound, 2), "");
}

TEST_F(HomeChange, PinnedPagesStayAreToldAndTriedAgain) {
  make([](HostOptions& o) { o.rebalance_period = std::chrono::milliseconds(200); });
  auto guest = add("g", 8 * MiB, {first_, second_});
  const auto pages = guest.memory().size() / kPageSize;
  fill_guest(guest, 1);
  // Less than a hundredth of it as well.
  for (const std::uint64_t pinned : {1 * MiB, 16 * kPageSize}) {
    const int to = home(guest) == first_ ? second_ : first_;
    {
      auto pin = guest.pin(1 * MiB, pinned);
      ASSERT_TRUE(pin) << pin.error().message();
      ASSERT_TRUE(guest.rehome(to));
      EXPECT_TRUE(in_time([&] { return guest.stats()->migration_pinned == pinned; }));
      EXPECT_TRUE(in_time([&] { return pages_on(guest, to) == pages - pinned / kPageSize; }));
    }
    EXPECT_TRUE(in_time([&] { return pages_on(guest, to) == pages; }));
    EXPECT_TRUE(in_time([&] { return guest.stats()->migration_pinned == 0; }));
    EXPECT_EQ(wrong_in(guest, 1), "");
  }
}

// By load and distance: a large guest is worth several small ones.
TEST_F(HomeChange, PlacementByLoadLeavesTheFullNodeOut) {
  make([](HostOptions& o) { o.placement = InitialPlacement::load_and_distance; });
  auto large = add("large", 64 * MiB);
  std::vector<Guest> small;
  for (std::size_t i = 0; i < homes_.size(); ++i) {
    small.push_back(add("small" + std::to_string(i), 4 * MiB));
    EXPECT_NE(home(small.back()), home(large)) << i;
  }
}

}  // namespace
}  // namespace vmm::test
