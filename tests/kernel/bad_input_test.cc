// Bad input: an error that names field, value and remedy, and nothing changed.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/host_core.h"
#include "support/child.h"
#include "support/host_rig.h"
#include "support/process_state.h"
#include "support/temp_directory.h"
#include "topology/topology.h"
#include "vmm/vmm.h"

namespace vmm::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class BadInput : public testing::Test {
 protected:
  HostOptions host_options() const {
    HostOptions o;
    o.memory = 64 * MiB;
    o.swap_directory = directory_.path();
    o.scheduler = Scheduler::manual;  // whose thread opens files now and then, and descriptors are counted here
    return o;
  }
  static GuestOptions guest_options(const std::string& name = "g") {
    GuestOptions o;
    o.name = name;
    o.memory = 4 * MiB;
    return o;
  }
  const TempDirectory directory_;
};

template <class T>
void expect_error(const Result<T>& result, std::error_code code, const std::string& field, const std::string& value,
                  const std::string& remedy) {
  ASSERT_FALSE(result) << field << " = " << value << " was accepted";
  const auto& e = result.error();
  EXPECT_EQ(e.code, code) << e.message();
  EXPECT_THAT(e.operation, AllOf(HasSubstr(field), HasSubstr(value)));
  EXPECT_THAT(e.remedy, HasSubstr(remedy));
  EXPECT_THAT(e.message(), Not(HasSubstr("\n")));
}

const auto kInvalid = std::make_error_code(std::errc::invalid_argument);

TEST_F(BadInput, HostOptions) {
  struct Case {
    std::function<void(HostOptions&)> set;
    const char *field, *value, *remedy;
  };
  const Case cases[] = {
      {[](auto& o) { o.memory = 1 * MiB; }, "HostOptions::memory", "1048576", "16777216"},
      {[](auto& o) { o.memory = 1; }, "HostOptions::memory", "1", "16777216"},
      {[](auto& o) { o.swap_in_batch_pages = 0; }, "HostOptions::swap_in_batch_pages", "0", "1 to 64"},
      {[](auto& o) { o.swap_in_batch_pages = 65; }, "HostOptions::swap_in_batch_pages", "65", "1 to 64"},
      {[](auto& o) { o.swap_async_write_pages = 0; }, "HostOptions::swap_async_write_pages", "0", "1 to 64"},
      {[](auto& o) { o.swap_async_write_pages = 1000; }, "HostOptions::swap_async_write_pages", "1000", "1 to 64"},
      {[](auto& o) { o.min_free = -0.1; }, "HostOptions::min_free", "-0.1", "0 to 0.5"},
      {[](auto& o) { o.min_free = 0.7; }, "HostOptions::min_free", "0.7", "0 to 0.5"},
      {[](auto& o) { o.min_free = 0.0 / 0.0; }, "HostOptions::min_free", "nan", "0 to 0.5"},
      {[](auto& o) { o.rebalance_period = std::chrono::milliseconds(0); }, "HostOptions::rebalance_period", "0",
       "1 ms"},
      {[](auto& o) { o.watchdog_timeout = std::chrono::milliseconds(-5); }, "HostOptions::watchdog_timeout", "-5",
       "1 ms"},
      {[](auto& o) { o.swap_retry_timeout = std::chrono::milliseconds(-1); }, "HostOptions::swap_retry_timeout", "-1",
       "0"},
      {[](auto& o) { o.memory_ladder = static_cast<MemoryLadder>(2); }, "HostOptions::memory_ladder", "2", "sliding"},
      {[](auto& o) { o.memory_ladder = static_cast<MemoryLadder>(-1); }, "HostOptions::memory_ladder", "-1",
       "classic or sliding"},
      {[](auto& o) { o.scheduler = static_cast<Scheduler>(7); }, "HostOptions::scheduler", "7", "automatic or manual"},
      {[](auto& o) { o.isolation = static_cast<Isolation>(3); }, "HostOptions::isolation", "3", "write_protect"},
      {[](auto& o) { o.swap_io = static_cast<SwapIo>(3); }, "HostOptions::swap_io", "3", "io_uring"},
      {[](auto& o) { o.management = static_cast<Management>(3); }, "HostOptions::management", "3", "on_demand"},
      {[](auto& o) { o.placement = static_cast<InitialPlacement>(2); }, "HostOptions::placement", "2", "round_robin"},
      {[](auto& o) { o.rebalance_imbalance = -0.1; }, "HostOptions::rebalance_imbalance", "-0.1", "0 to 1"},
      {[](auto& o) { o.rebalance_improvement = 1.5; }, "HostOptions::rebalance_improvement", "1.5", "0 to 1"},
      {[](auto& o) { o.rebalance_locality_weight = -1; }, "HostOptions::rebalance_locality_weight", "-1", "0 to 100"},
      {[](auto& o) { o.rebalance_swap_interval = 0; }, "HostOptions::rebalance_swap_interval", "0", "1 period"},
      {[](auto& o) { o.rebalance_cool_down = std::chrono::milliseconds(-1); }, "HostOptions::rebalance_cool_down", "-1",
       "0 or more"},
      {[](auto& o) { o.migration_rate_max = -3; }, "HostOptions::migration_rate_max", "-3", "MB/s"},
      {[](auto& o) { o.migration_rate_max = 0.0 / 0.0; }, "HostOptions::migration_rate_max", "nan", "MB/s"},
      {[](auto& o) { o.idle_tax = 1; }, "HostOptions::idle_tax", "1", "0.99"},
      {[](auto& o) { o.sample_pages = 10'001; }, "HostOptions::sample_pages", "10001", "10000"},
      {[](auto& o) { o.balloon_max_percent = 96; }, "HostOptions::balloon_max_percent", "96", "95"},
      {[](auto& o) { o.sample_period = std::chrono::milliseconds(9); }, "HostOptions::sample_period", "9", "10 ms"},
      {[](auto& o) { o.balance_period = std::chrono::milliseconds(0); }, "HostOptions::balance_period", "0", "1 ms"},
      {[](auto& o) { o.balloon_timeout = std::chrono::milliseconds(0); }, "HostOptions::balloon_timeout", "0", "1 ms"},
      {[](auto& o) { o.stop_timeout = std::chrono::milliseconds(-1); }, "HostOptions::stop_timeout", "-1", "0 or more"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.field) + " = " + c.value);
    auto options = host_options();
    c.set(options);
    expect_error(Host::create(options), kInvalid, c.field, c.value, c.remedy);
    if (options.memory_ladder == HostOptions().memory_ladder) continue;
    auto host = Host::create(host_options());
    ASSERT_TRUE(host) << host.error().message();
    expect_error(host->configure({.memory_ladder = options.memory_ladder}), kInvalid, c.field, c.value, c.remedy);
  }
}

// Each node has buffers. A budget that they leave nothing of would have every guest wait for ever; the least that is
// accepted serves a guest of several times its size.
TEST_F(BadInput, BudgetThatTheNodesBuffersLeaveNothingOf) {
  const auto nodes = topology::Topology::synthetic("node:8 core:1 pu:1");
  ASSERT_TRUE(nodes) << nodes.error().message();
  auto options = host_options();
  options.memory = 32 * MiB;
  const auto refused = HostCore::create(options, *nodes);
  expect_error(refused, kInvalid, "HostOptions::memory", "33554432", "give at least ");
  const auto least = refused.error().remedy.substr(std::string("give at least ").size());
  options.memory = std::stoull(least) / kPageSize * kPageSize;
  options.scheduler = Scheduler::automatic;
  auto core = HostCore::create(options, *nodes);
  ASSERT_TRUE(core) << core.error().message();
  {
    auto large = guest_options();
    large.memory = 16 * MiB;
    large.node_affinity = {0};
    auto guest_core = (*core)->create_guest(large);
    ASSERT_TRUE(guest_core) << guest_core.error().message();
    Guest guest(std::move(*guest_core));
    fill_guest(guest, 1);
    EXPECT_EQ(wrong_in(guest, 1), "");
  }
  auto less = HostChange{};
  less.memory = 32 * MiB;
  expect_error((*core)->configure(less), kInvalid, "HostOptions::memory", "33554432", "give at least ");
  HostChange negative;
  negative.migration_rate_max = -1;
  expect_error((*core)->configure(negative), kInvalid, "HostOptions::migration_rate_max", "-1", "MB/s");
  (*core)->shut_down();
}

TEST_F(BadInput, GuestOptions) {
  auto host = Host::create(host_options());
  ASSERT_TRUE(host) << host.error().message();
  const auto descriptors = open_descriptors();
  struct Case {
    std::function<void(GuestOptions&)> set;
    const char *field, *value, *remedy;
    std::error_code code = kInvalid;
  };
  const auto nodev = std::make_error_code(std::errc::no_such_device);
  const Case cases[] = {
      {[](auto& o) { o.name = ""; }, "GuestOptions::name", "\"\"", "name"},
      {[](auto& o) { o.name = "a/b"; }, "GuestOptions::name", "a/b", "'/'"},
      {[](auto& o) { o.name = std::string(256, 'n'); }, "GuestOptions::name", "256 bytes", "255"},
      {[](auto& o) { o.memory = 0; }, "GuestOptions::memory", "0", "4096"},
      {[](auto& o) { o.memory = 4097; }, "GuestOptions::memory", "4097", "multiple of 4096"},
      {[](auto& o) { o.memory = ~std::uint64_t{0}; }, "GuestOptions::memory", "18446744073709551615",
       "multiple of 4096"},
      {[](auto& o) { o.memory = std::uint64_t{1} << 60; }, "GuestOptions::memory", "1152921504606846976", "64 TiB"},
      {[](auto& o) { o.reservation = 8 * MiB; }, "GuestOptions::reservation", "8388608", "4194304"},
      {[](auto& o) { o.reservation = 100; }, "GuestOptions::reservation", "100", "multiple of 4096"},
      {[](auto& o) { o.limit = 4095; }, "GuestOptions::limit", "4095", "multiple of 4096"},
      {[](auto& o) { o.limit = kPageSize; }, "GuestOptions::limit", "4096", "2097152"},
      {[](auto& o) {
         o.limit = 2 * MiB;
         o.reservation = 4 * MiB;
       },
       "GuestOptions::limit", "2097152", "4194304"},
      {[](auto& o) { o.node_affinity = {4711}; }, "GuestOptions::node_affinity", "4711", "nodes", nodev},
      {[](auto& o) { o.node_affinity = {-1}; }, "GuestOptions::node_affinity", "-1", "nodes", nodev},
      {[](auto& o) {
         o.memory = 100 * MiB;
         o.reservation = 100 * MiB;
       },
       "GuestOptions::reservation", "104857600", "raise HostOptions::memory", make_error_code(Errc::admission_refused)},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.field) + " = " + c.value);
    auto options = guest_options();
    c.set(options);
    expect_error(host->create_guest(options), c.code, c.field, c.value, c.remedy);
  }
  auto first = host->create_guest(guest_options("same"));
  ASSERT_TRUE(first) << first.error().message();
  expect_error(host->create_guest(guest_options("same")), kInvalid, "GuestOptions::name", "same", "unique");
  first = Guest();
  EXPECT_TRUE(host->create_guest(guest_options("same")));
  EXPECT_EQ(open_descriptors(), descriptors);
  EXPECT_TRUE(directory_.entries().empty());
}

// What is pinned cannot be given to anybody, so it cannot be promised.
TEST_F(BadInput, ReservationThatPinsOfOthersLeaveNoRoomFor) {
  auto host = Host::create(host_options());
  ASSERT_TRUE(host);
  auto large = guest_options("large");
  large.memory = 64 * MiB;
  auto first = host->create_guest(large);
  ASSERT_TRUE(first) << first.error().message();
  auto pin = first->pin(0, 24 * MiB);
  ASSERT_TRUE(pin) << pin.error().message();
  auto reserved = guest_options("reserved");
  reserved.memory = reserved.reservation = 32 * MiB;
  expect_error(host->create_guest(reserved), make_error_code(Errc::admission_refused), "GuestOptions::reservation",
               "33554432", "HostOptions::memory");
  pin->release();
  EXPECT_TRUE(host->create_guest(reserved));
}

// The budget is smaller than what was promised, also in sum.
TEST_F(BadInput, BudgetSmallerThanTheReservations) {
  auto host = Host::create(host_options());
  ASSERT_TRUE(host);
  std::vector<Guest> guests;
  auto options = guest_options();
  options.memory = options.reservation = 16 * MiB;
  bool refused = false;
  for (int i = 0; i < 5 && !refused; ++i) {
    options.name = "g" + std::to_string(i);
    auto guest = host->create_guest(options);
    refused = !guest;
    if (refused)
      expect_error(guest, make_error_code(Errc::admission_refused), "GuestOptions::reservation", "16777216", "raise");
    else
      guests.push_back(std::move(*guest));
  }
  EXPECT_TRUE(refused);
  EXPECT_LE(host->stats()->reserved, host->stats()->memory);
}

TEST_F(BadInput, SwapDirectories) {
  const std::string file = directory_.file("file");
  std::ofstream(file) << "x";
  const auto missing = directory_.file("missing");
  const auto descriptors = open_descriptors();
  struct Case {
    std::string directory;
    std::error_code code;
    const char* remedy;
  };
  const Case cases[] = {{missing, std::make_error_code(std::errc::no_such_file_or_directory), "make the directory"},
                        {file, std::make_error_code(std::errc::not_a_directory), "name a directory"}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.directory);
    auto options = host_options();
    // Of the host: refused there, or at the first guest that needs it.
    options.swap_directory = c.directory;
    auto host = Host::create(options);
    if (host) {
      expect_error(host->create_guest(guest_options()), c.code, "swap_directory", c.directory, c.remedy);
    } else {
      expect_error(host, c.code, "swap_directory", c.directory, c.remedy);
    }
    // Of the guest.
    auto good = Host::create(host_options());
    ASSERT_TRUE(good);
    auto guest = guest_options();
    guest.swap_directory = c.directory;
    expect_error(good->create_guest(guest), c.code, "swap_directory", c.directory, c.remedy);
    EXPECT_TRUE(good->create_guest(guest_options())) << "the host goes on";
  }
  EXPECT_EQ(open_descriptors(), descriptors);
}

TEST_F(BadInput, SwapDirectoryWithoutPermission) {
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    if (::chmod(directory_.path().c_str(), 0500) != 0 || (::geteuid() == 0 && ::setuid(65534) != 0))
      return findings.skip("cannot become a user without permissions");
    ::prctl(PR_SET_DUMPABLE, 1);  // else /proc/self belongs to root
    auto host = Host::create(host_options());
    if (!host) {
      findings.check(host.error().message().find(directory_.path()) != std::string::npos, host.error().message());
      return;
    }
    const auto guest = host->create_guest(guest_options());
    if (!findings.check(!guest, "a guest was made without permission for its directory")) return;
    findings.check(guest.error().code == std::errc::permission_denied, guest.error().message());
    findings.check(guest.error().operation.find(directory_.path()) != std::string::npos, guest.error().message());
    findings.check(!guest.error().remedy.empty(), "no remedy");
  }));
}

TEST_F(BadInput, VerbsOfAGuest) {
  auto automatic = host_options();
  automatic.scheduler = Scheduler::automatic;
  auto host = Host::create(automatic);
  ASSERT_TRUE(host);
  auto guest = host->create_guest(guest_options());
  ASSERT_TRUE(guest);
  const auto memory = guest->memory();
  memory[0] = memory[memory.size() - 1] = std::byte{7};
  struct Range {
    std::uint64_t offset, bytes;
    const char *field, *value;
  };
  const Range ranges[] = {
      {1, 4096, "offset", "1"},
      {4096, 4097, "bytes", "4097"},
      {0, 0, "bytes", "0"},
      {4 * MiB, 4096, "offset", "4194304"},
      {0, 4 * MiB + 4096, "bytes", "4198400"},
      {4096, ~std::uint64_t{4095}, "bytes", "18446744073709547520"},
      {~std::uint64_t{4095}, 4096, "offset", "18446744073709547520"},
  };
  for (const auto& r : ranges) {
    SCOPED_TRACE(testing::Message() << r.offset << ", " << r.bytes);
    expect_error(guest->pin(r.offset, r.bytes), kInvalid, r.field, r.value, "");
    expect_error(guest->discard(r.offset, r.bytes), kInvalid, r.field, r.value, "");
    expect_error(guest->prefetch(r.offset, r.bytes), kInvalid, r.field, r.value, "");
  }
  EXPECT_TRUE(guest->reclaim(0));
  EXPECT_TRUE(guest->reclaim(~std::uint64_t{0})) << "more than there is takes what there is";
  EXPECT_EQ(memory[0], std::byte{7});
  EXPECT_EQ(memory[memory.size() - 1], std::byte{7});
  auto manual = Host::create(host_options());
  ASSERT_TRUE(manual) << manual.error().message();
  expect_error(manual->tick(std::chrono::nanoseconds::max()), kInvalid, "tick", "9223372036854775807",
               "CLOCK_MONOTONIC");
  expect_error(host->tick(std::chrono::seconds(1)), kInvalid, "HostOptions::scheduler", "automatic",
               "Scheduler::manual");
  // Pinned pages are not discarded, not even in part.
  auto pin = guest->pin(4096, 4096);
  ASSERT_TRUE(pin) << pin.error().message();
  expect_error(guest->discard(0, 3 * kPageSize), make_error_code(Errc::pages_pinned), "discard", "g", "release");
  EXPECT_EQ(memory[0], std::byte{7});
  // More than may be pinned.
  auto small = guest_options("small");
  small.limit = 2 * MiB;
  auto limited = host->create_guest(small);
  ASSERT_TRUE(limited);
  expect_error(limited->pin(0, 4 * MiB), make_error_code(Errc::pin_limit), "pin", "1024", "limit");
  EXPECT_EQ(limited->stats()->pinned, 0U);
}

TEST_F(BadInput, AttachedTwice) {
  auto host = Host::create(host_options());
  ASSERT_TRUE(host);
  auto one = host->create_guest(guest_options("one"));
  auto two = host->create_guest(guest_options("two"));
  ASSERT_TRUE(one && two);
  auto seat = one->attach_current_thread();
  ASSERT_TRUE(seat) << seat.error().message();
  for (Guest* guest : {&*one, &*two})
    expect_error(guest->attach_current_thread(), make_error_code(Errc::already_attached), "attach_current_thread",
                 "guest", "drop");
  EXPECT_EQ(one->stats()->attached_threads, 1U);
  EXPECT_EQ(two->stats()->attached_threads, 0U);
  seat->release();
  EXPECT_TRUE(two->attach_current_thread());
}

template <class T>
void expect_inert(const Result<T>& result) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::inert_handle);
  EXPECT_FALSE(result.error().operation.empty());
  EXPECT_FALSE(result.error().remedy.empty());
}

void expect_inert_guest(Guest& guest) {
  EXPECT_TRUE(guest.memory().empty());
  expect_inert(guest.attach_current_thread());
  expect_inert(guest.pin(0, kPageSize));
  expect_inert(guest.discard(0, kPageSize));
  expect_inert(guest.reclaim(kPageSize));
  expect_inert(guest.restore());
  expect_inert(guest.prefetch(0, kPageSize));
  expect_inert(guest.stats());
}

TEST_F(BadInput, HandlesThatAreEmptyOrMovedFrom) {
  Host no_host;
  expect_inert(no_host.create_guest(guest_options()));
  expect_inert(no_host.tick({}));
  no_host.on_event([](const Event&) {});
  expect_inert(no_host.stats());
  expect_inert(no_host.on_event([](const Event&) {}));
  EXPECT_TRUE(no_host.capabilities().items.empty());
  Guest no_guest;
  expect_inert_guest(no_guest);

  auto host = Host::create(host_options());
  ASSERT_TRUE(host);
  auto guest = host->create_guest(guest_options());
  ASSERT_TRUE(guest);
  Guest moved = std::move(*guest);
  expect_inert_guest(*guest);
  EXPECT_TRUE(moved);
  auto pin = moved.pin(0, kPageSize);
  ASSERT_TRUE(pin);
  Pin other = std::move(*pin);
  pin->release();
  EXPECT_EQ(moved.stats()->pinned, kPageSize);
  other.release();
  other.release();
  EXPECT_EQ(moved.stats()->pinned, 0U);

  Host elsewhere = std::move(*host);
  expect_inert(host->create_guest(guest_options("x")));
  // A guest that outlives its host, and what it handed out.
  auto late_pin = moved.pin(0, kPageSize);
  auto late_seat = moved.attach_current_thread();
  ASSERT_TRUE(late_pin && late_seat);
  elsewhere = Host();
  expect_inert_guest(moved);
  late_pin->release();
  late_seat->release();
}

}  // namespace
}  // namespace vmm::test
