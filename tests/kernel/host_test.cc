// What a host promises its guests: reservation, limit, pins, restore, prefetch, swap files, and the way from native to
// managed and back.
#include <atomic>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "stress/peek.h"
#include "support/call_hook.h"
#include "support/deadline.h"
#include "support/eventually.h"
#include "support/kernel_view.h"
#include "support/page_oracle.h"
#include "support/pattern.h"
#include "support/process_state.h"
#include "support/sanitizer.h"
#include "support/temp_directory.h"
#include "support/way.h"

namespace vmm::test {
namespace {

class HostPromises : public EachWay {
 protected:
  const TempDirectory directory_;
};

TEST_P(HostPromises, ReservationIsNeverTaken) {
  auto host = Host::create(host_options(directory_.path()));
  ASSERT_TRUE(host) << host.error().message();
  auto go = guest_options("g", 8 * MiB);
  go.reservation = 5 * MiB;
  auto guest = host->create_guest(go);
  ASSERT_TRUE(guest) << guest.error().message();
  PageOracle oracle(guest->memory(), 1);
  oracle.write(0, oracle.pages());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(guest->reclaim(8 * MiB));
  EXPECT_GE(guest->stats()->resident, 5 * MiB);
  EXPECT_GE(smaps_bytes(guest->memory().data(), 8 * MiB, "Rss"), 5 * MiB);
  EXPECT_LT(guest->stats()->resident, 8 * MiB) << "what is above it can be taken";
  EXPECT_EQ(oracle.check().wrong, 0U);
}

TEST_P(HostPromises, LimitIsRespected) {
  const Deadline deadline(std::chrono::seconds(200), "a guest at its limit");
  auto host = Host::create(host_options(directory_.path(), 128 * MiB));
  ASSERT_TRUE(host);
  auto go = guest_options("g", 32 * MiB);
  go.limit = 8 * MiB;
  auto guest = host->create_guest(go);
  ASSERT_TRUE(guest);
  PageOracle oracle(guest->memory(), 1);
  const auto& memory = stress::memory_of(*guest);
  std::uint64_t most = 0;
  std::mt19937_64 random(1);
  for (std::uint64_t n = 0; n < 2 * oracle.pages(); ++n) {
    const auto page = n < oracle.pages() ? n : random() % oracle.pages();
    if (n >= oracle.pages()) {
      ASSERT_EQ(oracle.look(page), PageOracle::Look::right) << page;
    }
    oracle.write(page);
    if (n % 512 == 0) {
      // Staging first: a page that is parked between the two looks is then not seen twice.
      const auto staged = smaps_bytes(memory.staged(0), 32 * MiB, "Rss");
      most = std::max(most, staged + smaps_bytes(memory.base(), 32 * MiB, "Rss"));
    }
  }
  EXPECT_LE(most, 8 * MiB + 8 * MiB / 100);
  EXPECT_EQ(oracle.check().wrong, 0U);
  EXPECT_GT(guest->stats()->swapped, 20 * MiB);
}

TEST_P(HostPromises, PinsKeepPagesInPlace) {
  auto host = Host::create(host_options(directory_.path()));
  ASSERT_TRUE(host);
  auto guest = host->create_guest(guest_options("g", 8 * MiB));
  ASSERT_TRUE(guest);
  PageOracle oracle(guest->memory(), 1);
  oracle.write(0, oracle.pages());
  ASSERT_TRUE(guest->reclaim(8 * MiB));
  auto one = guest->pin(1 * MiB, 2 * MiB);
  auto two = guest->pin(2 * MiB, 2 * MiB);  // overlaps
  ASSERT_TRUE(one && two);
  EXPECT_EQ(guest->stats()->pinned, 3 * MiB);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(guest->reclaim(8 * MiB));
  EXPECT_EQ(resident_pages(guest->memory().data() + 1 * MiB, 768), 768U);
  one->release();
  EXPECT_EQ(guest->stats()->pinned, 2 * MiB);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(guest->reclaim(8 * MiB));
  EXPECT_EQ(resident_pages(guest->memory().data() + 2 * MiB, 512), 512U);
  two->release();
  EXPECT_EQ(guest->stats()->pinned, 0U);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(guest->reclaim(8 * MiB));
  EXPECT_EQ(guest->stats()->resident, 0U) << "nothing is pinned any more";
  EXPECT_EQ(oracle.check().wrong, 0U);
  // At most half the budget, over all guests.
  auto large = host->create_guest(guest_options("large", 64 * MiB));
  ASSERT_TRUE(large);
  const auto refused = large->pin(0, 48 * MiB);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::pin_limit);
}

TEST_P(HostPromises, RestoreAndPrefetchBringBack) {
  const Deadline deadline(std::chrono::seconds(100), "restore and prefetch");
  auto host = Host::create(host_options(directory_.path()));
  ASSERT_TRUE(host);
  auto guest = host->create_guest(guest_options("g", 8 * MiB));
  ASSERT_TRUE(guest);
  PageOracle oracle(guest->memory(), 1);
  oracle.write(0, oracle.pages());
  ASSERT_TRUE(guest->reclaim(8 * MiB));
  const auto swapped = guest->stats()->swapped;
  ASSERT_EQ(swapped, 8 * MiB);
  ASSERT_TRUE(guest->prefetch(2 * MiB, 1 * MiB));
  // It does not wait; a restore ends after it.
  const auto restored = guest->restore();
  ASSERT_TRUE(restored) << restored.error().message();
  EXPECT_EQ(guest->stats()->swapped, 0U);
  EXPECT_EQ(resident_pages(guest->memory().data(), oracle.pages()), oracle.pages());
  const auto faults = guest->stats()->faults;
  EXPECT_EQ(oracle.check().wrong, 0U);
  EXPECT_EQ(guest->stats()->faults, faults) << "reading what was restored raises no event";
}

TEST_P(HostPromises, SwapFilesWhereTheyWereAskedFor) {
  const TempDirectory other;
  auto options = host_options(directory_.path());
  options.swap_persist = true;
  {
    auto host = Host::create(options);
    ASSERT_TRUE(host);
    auto go = guest_options("kept", 2 * MiB);
    auto first = host->create_guest(go);
    go.name = "elsewhere";
    go.reservation = 1 * MiB;
    go.swap_directory = other.path();
    auto second = host->create_guest(go);
    ASSERT_TRUE(first && second);
    ASSERT_EQ(directory_.entries().size(), 1U);
    ASSERT_EQ(other.entries().size(), 1U);
    EXPECT_EQ(std::filesystem::file_size(other.file(other.entries()[0])), 1 * MiB);
    EXPECT_EQ(second->stats()->swap_file, 1 * MiB);
  }
  ASSERT_EQ(directory_.entries().size(), 1U) << "swap_persist keeps it";
  EXPECT_EQ(directory_.entries()[0].rfind("kept.", 0), 0U) << directory_.entries()[0];
  EXPECT_EQ(other.entries().size(), 1U);
}

TEST_P(HostPromises, CreateAndDestroyLeaveNothing) {
  const auto descriptors = open_descriptors();
  std::size_t maps = 0;
  for (int i = 0; i < 12; ++i) {
    auto host = Host::create(host_options(directory_.path()));
    ASSERT_TRUE(host);
    std::vector<Guest> guests;
    for (int g = 0; g < 4; ++g) {
      auto guest = host->create_guest(guest_options("g" + std::to_string(g), 1 * MiB));
      ASSERT_TRUE(guest);
      guest->memory()[0] = std::byte{1};
      ASSERT_TRUE(guest->reclaim(1 * MiB));
      guests.push_back(std::move(*guest));
    }
    if (i % 2 == 0) guests.clear();  // else the host ends first
    *host = Host();
    guests.clear();
    ASSERT_EQ(open_descriptors(), descriptors);
    ASSERT_TRUE(library_threads_gone());
    ASSERT_TRUE(directory_.entries().empty());
    if (i == 3) maps = mappings();
  }
  if (!kThreadSanitizer && !kAddressSanitizer) {
    EXPECT_LE(mappings(), maps + 8);
  }
}

class NativeAndManaged : public HostPromises {};

// Threads touch a native guest for the first time while it is being registered: no touch is lost.
TEST_P(NativeAndManaged, TransitionUnderRacingFirstTouch) {
  const Deadline deadline(std::chrono::seconds(200), "native to managed under first touch");
  for (int round = 0; round < 8; ++round) {
    auto host = Host::create(host_options(directory_.path(), 128 * MiB));
    ASSERT_TRUE(host);
    auto go = guest_options("g", 32 * MiB);
    go.large_pages = round % 2 == 0;
    auto guest = host->create_guest(go);
    ASSERT_TRUE(guest);
    ASSERT_FALSE(guest->stats()->managed);
    constexpr unsigned kThreads = 3;
    const auto pages = guest->memory().size() / kPageSize;
    auto* const words = reinterpret_cast<std::uint64_t*>(guest->memory().data());
    std::atomic<std::uint64_t> touched{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        for (std::uint64_t page = 0; page < pages; ++page) {
          std::atomic_ref(words[page * 512 + t]).store(page + t + 1, std::memory_order_relaxed);
          touched.fetch_add(1, std::memory_order_relaxed);
        }
      });
    const auto when = static_cast<std::uint64_t>(round) * pages / 4;
    while (touched.load(std::memory_order_relaxed) < when) std::this_thread::yield();
    ASSERT_TRUE(guest->reclaim(1 * MiB));
    ASSERT_TRUE(guest->stats()->managed);
    for (auto& thread : threads) thread.join();
    for (std::uint64_t page = 0; page < pages; ++page)
      for (unsigned t = 0; t < kThreads; ++t) ASSERT_EQ(words[page * 512 + t], page + t + 1) << "page " << page;
  }
}

// A thread takes 20 GB/s: before such a budget could be seen to get short it would be exceeded.
TEST_P(NativeAndManaged, GuestsThatCouldOutgrowASmallBudgetAreManagedFromTheBeginning) {
  auto options = host_options(directory_.path(), 64 * MiB);
  options.scheduler = Scheduler::manual;
  auto host = Host::create(options);
  ASSERT_TRUE(host);
  auto fits = host->create_guest(guest_options("fits", 16 * MiB));
  ASSERT_TRUE(fits);
  EXPECT_FALSE(fits->stats()->managed);
  PageOracle oracle(fits->memory(), 1);
  oracle.write(0, oracle.pages());
  auto large = host->create_guest(guest_options("large", 48 * MiB));
  ASSERT_TRUE(large);
  EXPECT_TRUE(large->stats()->managed);
  ASSERT_TRUE(host->tick(std::chrono::seconds(1)));
  EXPECT_TRUE(fits->stats()->managed) << "together they could";
  EXPECT_EQ(fits->stats()->resident, 16 * MiB);
  EXPECT_EQ(oracle.check().wrong, 0U);
}

TEST_P(NativeAndManaged, ACallbackThatBlocksDelaysNoWatch) {
  const Deadline deadline(std::chrono::seconds(60), "the watch over native guests");
  const TempDirectory directory;
  auto options = host_options(directory.path(), 64 * MiB);
  options.management = Management::on_demand;
  auto host = Host::create(options);
  ASSERT_TRUE(host);
  std::atomic<bool> inside{false}, go_on{false};
  ASSERT_TRUE(host->on_event([&](const Event&) {
    inside = true;
    inside.notify_all();
    go_on.wait(false);
  }));
  auto guest = host->create_guest(guest_options("g", 64 * MiB));
  ASSERT_TRUE(guest);
  inside.wait(false);
  // The callback stands; the guest grows all the same, and is managed before the budget is used up.
  for (std::uint64_t page = 0; page < 14'000; ++page) fill_page(guest->memory().data() + page * kPageSize, 1, page, 1);
  EXPECT_TRUE(eventually([&] { return guest->stats()->managed; }));
  go_on = true;
  go_on.notify_all();
  ASSERT_TRUE(host->on_event({}));
}

// The scheduler manages one guest while another, next in its list, ends: that is no trouble that anybody is told of.
TEST_P(NativeAndManaged, AGuestThatEndsMeanwhileIsNotReportedAsNotReclaimable) {
  const Deadline deadline(std::chrono::seconds(100), "managing beside an end");
  auto options = host_options(directory_.path(), 128 * MiB);
  options.management = Management::on_demand;
  auto host = Host::create(options);
  ASSERT_TRUE(host);
  std::atomic<int> complaints{0};
  std::atomic<bool> ended{false};
  host->on_event([&](const Event& e) {
    complaints += e.kind == EventKind::not_reclaimable;
    if (e.kind == EventKind::guest_destroyed) ended = true;
  });
  auto first = host->create_guest(guest_options("first", 100 * MiB));
  auto second = host->create_guest(guest_options("second", 100 * MiB));
  ASSERT_TRUE(first && second);
  ASSERT_FALSE(first->stats()->managed || second->stats()->managed);
  second->memory()[0] = std::byte{1};
  const auto& memory = stress::memory_of(*second);
  CallHook hook;
  hook.hold(os::Call::uffd_register, "vmm-sched");
  std::memset(first->memory().data(), 1, 100 * MiB);
  ASSERT_TRUE(eventually([&] { return hook.held() == 1; }));
  std::thread ender([&] { *second = Guest(); });
  EXPECT_TRUE(eventually([&] { return memory.is_shut(); }));
  hook.release();
  ender.join();
  // Events come in order, and the guest's end waits for who looks at it.
  EXPECT_TRUE(eventually([&] { return ended.load(); }));
  EXPECT_EQ(complaints, 0);
  EXPECT_TRUE(eventually([&] { return first->stats()->managed; }));
}

TEST_P(NativeAndManaged, BackToNativeAfterPlenty) {
  auto options = host_options(directory_.path(), 128 * MiB);
  options.scheduler = Scheduler::manual;
  auto host = Host::create(options);
  ASSERT_TRUE(host);
  std::vector<Event> events;
  host->on_event([&](const Event& e) { events.push_back(e); });
  auto guest = host->create_guest(guest_options("g", 8 * MiB));
  ASSERT_TRUE(guest);
  PageOracle oracle(guest->memory(), 1);
  oracle.write(0, oracle.pages());
  std::chrono::nanoseconds now = std::chrono::steady_clock::now().time_since_epoch();
  ASSERT_TRUE(host->tick(now));
  ASSERT_TRUE(guest->reclaim(4 * MiB));
  ASSERT_TRUE(guest->stats()->managed);
  // Not while something is swapped, however long.
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(host->tick(now += std::chrono::seconds(2)));
  EXPECT_TRUE(guest->stats()->managed);
  ASSERT_TRUE(guest->restore());
  ASSERT_EQ(oracle.check().wrong, 0U);
  for (int i = 0; i < 100 && guest->stats()->managed; ++i) ASSERT_TRUE(host->tick(now += std::chrono::seconds(2)));
  EXPECT_FALSE(guest->stats()->managed);
  EXPECT_TRUE(std::any_of(events.begin(), events.end(),
                          [](const Event& e) { return e.kind == EventKind::guest_native && e.guest == "g"; }));
  EXPECT_EQ(oracle.check().wrong, 0U);
  EXPECT_EQ(smaps_flags(guest->memory().data()).find(" um "), std::string::npos) << "no longer registered";
  // And managed once more.
  oracle.write(0, oracle.pages());
  ASSERT_TRUE(guest->reclaim(8 * MiB));
  EXPECT_TRUE(guest->stats()->managed);
  EXPECT_EQ(oracle.check().wrong, 0U);
}

VMM_EACH_WAY(HostPromises);
VMM_EACH_WAY(NativeAndManaged);

}  // namespace
}  // namespace vmm::test
