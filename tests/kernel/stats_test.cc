// Guest::stats and Host::stats agree with what the kernel counts.
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "stress/peek.h"
#include "support/eventually.h"
#include "support/kernel_view.h"
#include "support/page_oracle.h"
#include "support/sanitizer.h"
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
  EXPECT_EQ(h.free, base::above(h.memory, h.withheld + h.consumed));
  EXPECT_GE(h.consumed, h.guests[0].resident + h.overhead);
  EXPECT_EQ(h.guests[0].name, "g");
  EXPECT_GT(h.guests[0].id, 0U);
  EXPECT_EQ(h.guests[0].memory, 16 * MiB);
  EXPECT_EQ(h.guests[0].swap_file, 15 * MiB);
  EXPECT_LE(h.guests[0].metadata * 200, h.guests[0].memory) << "0.5 % of the guest";
  const std::string best = probe().level == CapabilityLevel::user_mode ? "user_mode" : "full";
  EXPECT_EQ(h.capability_level, GetParam().isolation == Isolation::move ? best : "baseline");
  EXPECT_EQ(h.nodes.at(0), guest->stats()->home_node);
}

// Whoever compares two looks at a host can tell that the counters of the second are another guest's.
TEST_P(Stats, TellGuestsOfOneNameApart) {
  auto host = Host::create(host_options(directory_.path(), 128 * MiB));
  ASSERT_TRUE(host) << host.error().message();
  std::uint64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    auto guest = host->create_guest(guest_options("g", 4 * MiB));
    ASSERT_TRUE(guest) << guest.error().message();
    const auto id = guest->stats()->id;
    EXPECT_GT(id, last);
    EXPECT_EQ(host->stats()->guests.at(0).id, id);
    last = id;
  }
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
  // An answer is counted after its toucher goes on, and before the next one: that of one more is waited for.
  const auto fills = guest->stats()->fills;
  ASSERT_TRUE(guest->discard(0, kPageSize));
  *const_cast<volatile std::byte*>(guest->memory().data()) = std::byte{1};
  const auto all_told = [&](const GuestStats& s) {
    return s.fills == fills + 1 && s.fill_latency.count == s.fills && s.rescue_latency.count == s.rescues &&
           s.swap_in_latency.count == s.swap_ins && s.fault_latency.count == s.fills + s.rescues + s.swap_ins;
  };
  EXPECT_TRUE(eventually([&] { return all_told(*guest->stats()); }));
  const auto s = *guest->stats();
  EXPECT_GT(s.fills, 0U);
  EXPECT_GT(s.swap_ins, 0U);
  EXPECT_GE(s.faults, s.fills + s.rescues + s.swap_ins);
  EXPECT_GE(s.swap_in_latency.sum_ns, s.swap_in_latency.max_ns);
  EXPECT_GE(s.swapped_in, s.swap_ins * kPageSize);
  EXPECT_GT(s.swap_written, 0U);
  EXPECT_EQ(s.swap_errors, 0U);
  EXPECT_EQ(s.rejected_faults, 0U);
  EXPECT_EQ(s.lost, 0U);
  // The host's are those of all its guests, also when they have ended.
  for (const bool ended : {false, true}) {
    if (ended) *guest = Guest();
    const auto h = *host->stats();
    EXPECT_EQ(h.guests.size(), ended ? 0U : 1U);
    EXPECT_EQ(h.fill_latency.count, s.fills);
    EXPECT_EQ(h.rescue_latency.count, s.rescues);
    EXPECT_EQ(h.swap_in_latency.count, s.swap_ins);
    EXPECT_EQ(h.swap_in_latency.sum_ns, s.swap_in_latency.sum_ns);
    EXPECT_EQ(h.pop_latency.count + h.stop_latency.count, 0U);
  }
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

// Bytes of disk or memory that this process's open files of such a name have.
std::uint64_t bytes_of_files(const std::string& part_of_name) {
  std::uint64_t bytes = 0;
  std::set<ino_t> seen;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const auto name = std::filesystem::read_symlink(entry.path(), gone).string();
    struct stat file {};
    if (name.find(part_of_name) != std::string::npos && ::stat(entry.path().c_str(), &file) == 0 &&
        seen.insert(file.st_ino).second)
      bytes += static_cast<std::uint64_t>(file.st_blocks) * 512;
  }
  return bytes;
}

// A field of /proc/self/smaps_rollup, in bytes.
std::uint64_t rollup(const std::string& field) {
  std::ifstream file("/proc/self/smaps_rollup");
  std::string name;
  for (std::uint64_t kib = 0; file >> name; file.ignore(1000, '\n'))
    if (name == field + ":" && file >> kib) return kib * KiB;
  return 0;
}

// What several guests hold, share and have swapped, together: mappings, memory files and swap files.
TEST_P(Stats, SumsAgreeWithTheKernels) {
  auto options = host_options(directory_.path(), 128 * MiB);
  options.scheduler = Scheduler::manual;
  options.management = Management::at_creation;
  options.share_scan_ghz = 4;
  options.share_scan_time = std::chrono::hours(24);
  auto host = Host::create(options);
  ASSERT_TRUE(host) << host.error().message();
  std::vector<Guest> guests;
  for (int i = 0; i < 4; ++i) {
    auto go = guest_options("g" + std::to_string(i), 8 * MiB);
    go.large_pages = false;
    go.share_salt = "common";
    go.node_affinity = {host->stats()->nodes.front()};
    guests.push_back(std::move(*host->create_guest(go)));
  }
  // Half of each is alike, for all guests.
  for (std::size_t i = 0; i < guests.size(); ++i) {
    PageOracle alike(guests[i].memory(), 1), own(guests[i].memory(), 2 + i);
    alike.write(0, alike.pages() / 2);
    own.write(own.pages() / 2, own.pages());
  }
  std::uint64_t swapped = 0, swap_files = 0;
  const auto compare = [&](const char* when) {
    SCOPED_TRACE(when);
    const auto h = *host->stats();
    std::uint64_t in_memory = 0, resident = 0, shared = 0;
    swapped = swap_files = 0;
    for (const auto& g : h.guests) {
      resident += g.resident;
      shared += g.shared;
      swapped += g.swapped;
      swap_files += g.swap_file;
      EXPECT_EQ(g.granted, g.resident + g.shared);
      EXPECT_EQ(g.granted + g.swapped, g.memory) << "all of it was written";
    }
    for (const auto& guest : guests) {
      const auto& m = stress::memory_of(guest);
      in_memory += smaps_bytes(m.base(), guest.memory().size(), "Anonymous") +
                   smaps_bytes(m.staged(0), guest.memory().size(), "Anonymous");
    }
    EXPECT_EQ(in_memory, resident) << "what shows copies is not the guest's own";
    EXPECT_EQ(h.shared, shared);
    EXPECT_EQ(h.swapped, swapped);
    EXPECT_EQ(h.share_frames, bytes_of_files("vmm-frames"));
    // The file system's tables of a file that has been written take some blocks, too.
    EXPECT_GE(bytes_of_files(directory_.path()), swap_files);
    EXPECT_LE(bytes_of_files(directory_.path()), swap_files + swap_files / 100);
    EXPECT_GE(h.consumed, resident + h.share_frames + h.overhead);
    return resident;
  };
  const auto before = compare("written");
  auto anonymous = rollup("Anonymous");
  ASSERT_GE(anonymous, before);
  ASSERT_TRUE(host->share_now());
  const auto with_frames = compare("shared");
  EXPECT_LT(with_frames, before) << "nothing is shared";
  // What the process has besides may grow by a little.
  constexpr auto kOwn = static_cast<double>(2 * MiB);
  const auto expect_fallen = [&](std::uint64_t from, std::uint64_t to) {
    // There a sanitizer's own memory grows by more than that.
    if (kAddressSanitizer || kThreadSanitizer) return;
    const auto now = rollup("Anonymous");
    EXPECT_NEAR(static_cast<double>(anonymous) - static_cast<double>(now), static_cast<double>(from - to), kOwn);
    anonymous = now;
  };
  expect_fallen(before, with_frames);
  for (auto& guest : guests) ASSERT_TRUE(guest.reclaim(2 * MiB));
  expect_fallen(with_frames, compare("reclaimed"));
  EXPECT_GT(swapped, 0U);
}

VMM_EACH_WAY(Stats);

}  // namespace
}  // namespace vmm::test
