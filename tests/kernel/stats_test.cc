// Guest::stats and Host::stats agree with what the kernel counts.
#include <chrono>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "stress/peek.h"
#include "support/kernel_view.h"
#include "support/page_oracle.h"
#include "support/temp_directory.h"
#include "support/way.h"

namespace vmm::test {
namespace {

class Stats : public EachWay {
 protected:
  // Memory of the guest by the kernel: in place and in staging. Zero pages are in `resident` and not in Rss.
  static std::uint64_t rss(const Guest& guest) {
    const auto& m = stress::memory_of(guest);
    const auto bytes = m.pages() * kPageSize;
    return smaps_bytes(m.base(), bytes, "Rss") + smaps_bytes(m.staged(0), bytes, "Rss");
  }
  const TempDirectory directory_;
};

TEST_P(Stats, AgreeWithTheKernel) {
  auto options = host_options(directory_.path(), 128 * MiB);
  options.scheduler = Scheduler::manual;
  auto host = Host::create(options);
  ASSERT_TRUE(host) << host.error().message();
  auto go = guest_options("g", 16 * MiB);
  go.reservation = 1 * MiB;
  go.limit = 16 * MiB;
  auto guest = host->create_guest(go);
  ASSERT_TRUE(guest) << guest.error().message();
  PageOracle oracle(guest->memory(), 1);
  oracle.write(0, oracle.pages() / 2);
  std::chrono::seconds now{1};
  ASSERT_TRUE(host->tick(now));
  EXPECT_EQ(guest->stats()->resident, rss(*guest)) << "in place only";
  for (const std::uint64_t bytes : {1 * MiB, 3 * MiB, 16 * MiB}) {
    ASSERT_TRUE(guest->reclaim(bytes));
    const auto s = *guest->stats();
    EXPECT_TRUE(s.managed);
    EXPECT_EQ(s.resident, rss(*guest)) << "after reclaim of " << bytes;
    EXPECT_EQ(s.resident + s.swapped, 8 * MiB);
    EXPECT_LE(s.swapped_out, s.swap_written);
    EXPECT_GE(s.resident, s.reservation);
  }
  ASSERT_TRUE(guest->restore());
  EXPECT_EQ(oracle.check(0, oracle.pages() / 2).wrong, 0U);
  auto s = *guest->stats();
  EXPECT_EQ(s.resident, rss(*guest)) << "restored";
  EXPECT_EQ(s.swapped, 0U);
  EXPECT_GT(s.swapped_in, 0U);
  ASSERT_TRUE(guest->discard(0, 4 * MiB));
  s = *guest->stats();
  EXPECT_EQ(s.resident, rss(*guest)) << "discarded";
  EXPECT_EQ(s.resident, 4 * MiB);
  auto pin = guest->pin(4 * MiB, 1 * MiB);
  ASSERT_TRUE(pin) << pin.error().message();
  EXPECT_EQ(guest->stats()->pinned, 1 * MiB);

  const auto h = *host->stats();
  ASSERT_EQ(h.guests.size(), 1U);
  EXPECT_EQ(h.memory, 128 * MiB);
  EXPECT_EQ(h.reserved, 1 * MiB);
  EXPECT_EQ(h.free, h.memory - h.consumed);
  EXPECT_GE(h.consumed, h.guests[0].resident + h.overhead);
  EXPECT_EQ(h.guests[0].name, "g");
  EXPECT_EQ(h.guests[0].memory, 16 * MiB);
  EXPECT_EQ(h.guests[0].swap_file, 15 * MiB);
  EXPECT_LE(h.guests[0].metadata * 200, h.guests[0].memory) << "0.5 % of the guest";
  const std::string best = probe().level == CapabilityLevel::user_mode ? "user_mode" : "full";
  EXPECT_EQ(h.capability_level, GetParam().isolation == Isolation::move ? best : "baseline");
  EXPECT_EQ(h.nodes.at(0), guest->stats()->home_node);
}

TEST_P(Stats, CountEveryKindOfFault) {
  auto options = host_options(directory_.path(), 128 * MiB);
  options.management = Management::at_creation;
  auto host = Host::create(options);
  ASSERT_TRUE(host);
  auto go = guest_options("g", 4 * MiB);
  go.large_pages = false;
  auto guest = host->create_guest(go);
  ASSERT_TRUE(guest);
  PageOracle oracle(guest->memory(), 1);
  oracle.write(0, oracle.pages());
  ASSERT_TRUE(guest->reclaim(4 * MiB));
  ASSERT_EQ(oracle.check().wrong, 0U);
  const auto s = *guest->stats();
  EXPECT_GT(s.fills, 0U);
  EXPECT_GT(s.swap_ins, 0U);
  EXPECT_GE(s.faults, s.fills + s.rescues + s.swap_ins);
  EXPECT_GE(s.swapped_in, s.swap_ins * kPageSize);
  EXPECT_GT(s.swap_written, 0U);
  EXPECT_EQ(s.swap_errors, 0U);
  EXPECT_EQ(s.rejected_faults, 0U);
  EXPECT_EQ(s.lost, 0U);
}

// Bytes.
struct Figures {
  std::uint64_t overhead, target, of_host, consumed, free, of_pool, of_root;
  bool operator==(const Figures&) const = default;
  friend void PrintTo(const Figures& f, std::ostream* out) {
    *out << "overhead " << f.overhead << ", target " << f.target << "; host: overhead " << f.of_host << ", consumed "
         << f.consumed << ", free " << f.free << "; pool " << f.of_pool << ", root " << f.of_root;
  }
};

// A thread that is attached costs a page: of its guest, of the guest's pool, and of the host. In the target, too.
TEST_P(Stats, CountAttachedThreadsAsOverhead) {
  auto options = host_options(directory_.path(), 128 * MiB);
  options.scheduler = Scheduler::manual;
  options.management = Management::at_creation;
  auto host = Host::create(options);
  ASSERT_TRUE(host) << host.error().message();
  ASSERT_TRUE(host->create_pool("/p", {}));
  auto go = guest_options("g", 4 * MiB);
  go.large_pages = false;
  go.pool = "/p";
  auto guest = host->create_guest(go);
  ASSERT_TRUE(guest) << guest.error().message();
  PageOracle oracle(guest->memory(), 1);
  oracle.write(0, oracle.pages());
  auto now = std::chrono::steady_clock::now().time_since_epoch();
  const auto figures = [&] {
    now += 2 * options.balance_period;
    EXPECT_TRUE(host->tick(now));
    const auto h = *host->stats();
    const auto& g = h.guests.at(0);
    EXPECT_EQ(g.target, g.resident + g.overhead) << "memory is plentiful";
    EXPECT_EQ(h.pools.at(1).consumed, g.resident + g.overhead);
    const auto &of_pool = h.pools.at(1), &root = h.pools.at(0);
    return Figures{g.overhead, g.target, h.overhead, h.consumed, h.free, of_pool.consumed, root.consumed};
  };
  const auto before = figures();
  EXPECT_GE(before.overhead, guest->stats()->metadata);
  const auto with = [&](std::uint64_t threads) {
    const auto more = threads * kPageSize;
    return Figures{before.overhead + more, before.target + more, before.of_host + more, before.consumed + more,
                   before.free - more,     before.of_pool + more, before.of_root + more};
  };
  auto seat = guest->attach_current_thread(Attach::measure_only);
  ASSERT_TRUE(seat) << seat.error().message();
  EXPECT_EQ(figures(), with(1));
  Seat second;
  std::thread([&] { second = std::move(*guest->attach_current_thread(Attach::measure_only)); }).join();
  EXPECT_EQ(figures(), with(2));
  seat->release();
  EXPECT_EQ(figures(), with(1));
  second = Seat();
  EXPECT_EQ(figures(), before);
}

VMM_EACH_WAY(Stats);

}  // namespace
}  // namespace vmm::test
