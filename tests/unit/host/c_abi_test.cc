// The C interface: structs of other sizes than this library's, what an error becomes, and that C's defaults are C++'s.
#include "host/c_abi.h"

#include <array>
#include <cstring>
#include <future>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.h"

namespace vmm {
namespace {

namespace c = host::c;

// As a later header has it.
struct LaterPoolOptions {
  vmm_pool_options now;
  std::uint64_t later[3];
};
static_assert(sizeof(LaterPoolOptions) == sizeof(vmm_pool_options) + 24);

LaterPoolOptions later_options() {
  LaterPoolOptions later;
  std::memset(static_cast<void*>(&later), 0xab, sizeof(later));
  EXPECT_EQ(vmm_pool_options_init(&later.now, sizeof(later)), 0);
  return later;
}

vmm_pool_options taken(const vmm_pool_options& given, int expected) {
  auto own = c::default_pool_options();
  EXPECT_EQ(c::take("vmm_pool_options", &given, own), expected) << vmm_last_error();
  return own;
}

TEST(CStructs, AnOlderOneHasTodaysDefaultsForWhatItLacks) {
  // `size`, `shares` and `reservation`: what follows is not the struct's.
  constexpr std::size_t kOld = offsetof(vmm_pool_options, limit);
  vmm_pool_options old;
  std::memset(static_cast<void*>(&old), 0xab, sizeof(old));
  ASSERT_EQ(vmm_pool_options_init(&old, kOld), 0);
  EXPECT_EQ(old.size, kOld);
  EXPECT_EQ(old.limit, 0xabababababababab) << "written beyond the size that was given";
  old.shares = 7;
  old.reservation = 8192;
  const auto own = taken(old, 0);
  EXPECT_EQ(own.shares, 7u);
  EXPECT_EQ(own.reservation, 8192u);
  EXPECT_EQ(own.limit, 0u);
  EXPECT_EQ(own.expandable_reservation, 1u);
  EXPECT_EQ(own.size, sizeof(vmm_pool_options));
}

TEST(CStructs, ALaterOneIsTakenWhileItSaysNothingNew) {
  auto later = later_options();
  EXPECT_EQ(later.now.size, sizeof(later));
  for (const auto word : later.later) EXPECT_EQ(word, 0u);
  later.now.limit = 4096;
  EXPECT_EQ(taken(later.now, 0).limit, 4096u);
}

TEST(CStructs, ALaterOneThatSaysSomethingNewIsRefused) {
  auto later = later_options();
  auto* last = reinterpret_cast<char*>(&later) + sizeof(later) - 1;
  *last = 1;
  taken(later.now, -E2BIG);
  EXPECT_NE(std::string(vmm_last_error()).find("vmm_pool_options"), std::string::npos) << vmm_last_error();
}

TEST(CStructs, SizesThatNoHeaderHasAreRefused) {
  auto options = c::default_pool_options();
  const struct {
    std::size_t size;
    int expected;
  } cases[] = {{0, -EINVAL}, {4, -EINVAL}, {sizeof(options) - 4, -EINVAL}, {4104, -E2BIG}, {~std::size_t{7}, -E2BIG}};
  for (const auto& one : cases) {
    options.size = one.size;
    taken(options, one.expected);
    EXPECT_NE(std::string(vmm_last_error()).find("size = " + std::to_string(one.size)), std::string::npos);
    EXPECT_EQ(vmm_pool_options_init(&options, one.size), one.expected);
    vmm_host_stats stats{};
    stats.size = one.size;
    EXPECT_EQ(c::check_room("vmm_host_stats", &stats), one.expected);
  }
  EXPECT_EQ(vmm_pool_options_init(nullptr, 8), -EINVAL);
  auto own = options;
  EXPECT_EQ(c::take<vmm_pool_options>("vmm_pool_options", nullptr, own), -EINVAL);
}

TEST(CStructs, FiguresFillWhatTheCallerHasAndZeroTheRest) {
  vmm_share_report own{sizeof(own), 1, 2, 3, 4, 5, 6};
  struct {
    vmm_share_report now;
    std::uint64_t later[2];
  } larger;
  std::memset(static_cast<void*>(&larger), 0xab, sizeof(larger));
  larger.now.size = sizeof(larger);
  c::store(own, &larger.now);
  EXPECT_EQ(larger.now.size, sizeof(larger));
  EXPECT_EQ(larger.now.cpu_ns, 6u);
  EXPECT_EQ(larger.later[0] + larger.later[1], 0u);

  vmm_share_report smaller;
  std::memset(static_cast<void*>(&smaller), 0xab, sizeof(smaller));
  smaller.size = offsetof(vmm_share_report, zero);
  c::store(own, &smaller);
  EXPECT_EQ(smaller.size, offsetof(vmm_share_report, zero));
  EXPECT_EQ(smaller.shared, 2u);
  EXPECT_EQ(smaller.zero, 0xabababababababab);
}

// What programs were compiled against: a struct may grow at its end, and that is all.
TEST(CStructs, KeepTheirLayout) {
  EXPECT_GE(sizeof(vmm_host_options), 240u);
  EXPECT_EQ(offsetof(vmm_host_options, management), 236u);
  EXPECT_EQ(offsetof(vmm_host_change, memory_ladder), 112u);
  EXPECT_EQ(offsetof(vmm_guest_options, core_dump), 128u);
  EXPECT_EQ(offsetof(vmm_guest_change, rebalance), 80u);
  EXPECT_EQ(offsetof(vmm_pool_options, expandable_reservation), 32u);
  EXPECT_EQ(offsetof(vmm_pool_change, expandable_reservation), 40u);
  EXPECT_EQ(offsetof(vmm_guest_stats, swap_failed), 452u);
  EXPECT_EQ(offsetof(vmm_host_stats, capability_level), 156u);
  EXPECT_EQ(offsetof(vmm_event, kind), 56u);
  EXPECT_EQ(offsetof(vmm_capability, state), 40u);
  EXPECT_EQ(offsetof(vmm_balloon_driver, release), 32u);
}

TEST(CErrors, EachClassHasAnErrnoOfItsOwn) {
  const struct {
    Errc errc;
    int number;
  } classes[] = {
      {Errc::forked_child, ECHILD},      {Errc::inert_handle, EBADF},       {Errc::already_attached, EALREADY},
      {Errc::admission_refused, EUSERS}, {Errc::pin_limit, ENOBUFS},        {Errc::page_lost, EIO},
      {Errc::pages_pinned, EBUSY},       {Errc::not_supported, EOPNOTSUPP}, {Errc::shutting_down, ESHUTDOWN}};
  std::set<int> seen;
  for (const auto& one : classes) {
    EXPECT_TRUE(seen.insert(one.number).second) << one.number;
    const Error error{make_error_code(one.errc), "discard of the guest", "try again"};
    EXPECT_EQ(c::fail(error), -one.number);
    EXPECT_EQ(vmm_last_error(), error.message());
  }
  // A class that is added gets a line above: the category has no text for those that there are not.
  const auto unknown = error_category().message(static_cast<int>(std::size(classes)) + 1);
  EXPECT_EQ(unknown, "unknown error " + std::to_string(std::size(classes) + 1));
}

TEST(CErrors, ErrnosStayWhatTheyAre) {
  for (const int number : {EINVAL, ENOSPC, ENOMEM, ENODEV, EPERM})
    for (const auto* category : {&std::generic_category(), &std::system_category()})
      EXPECT_EQ(c::errno_of({number, *category}), number);
  EXPECT_EQ(c::errno_of(std::make_error_code(std::future_errc::no_state)), EIO) << "no errno";
  EXPECT_EQ(c::errno_of({-3, std::generic_category()}), EIO);
  EXPECT_EQ(c::errno_of({0, std::generic_category()}), EIO) << "an error is never success";
}

TEST(CErrors, ExceptionsEndAtTheBorder) {
  EXPECT_EQ(c::guarded("vmm_x", []() -> int { throw std::bad_alloc(); }), -ENOMEM);
  EXPECT_NE(std::string(vmm_last_error()).find("vmm_x"), std::string::npos);
  EXPECT_EQ(c::guarded("vmm_x", []() -> int { throw std::runtime_error("unheard of"); }), -EIO);
  EXPECT_NE(std::string(vmm_last_error()).find("unheard of"), std::string::npos);
}

TEST(CErrors, TextsAreOfTheThreadAndNotTooLong) {
  c::fail(EINVAL, "first", "");
  std::thread([] {
    EXPECT_STREQ(vmm_last_error(), "");
    c::fail(EINVAL, "second", "");
  }).join();
  EXPECT_NE(std::string(vmm_last_error()).find("first"), std::string::npos);
  c::fail(Error{std::error_code(EINVAL, std::generic_category()), std::string(5000, 'x'), "remedy"});
  EXPECT_EQ(std::string(vmm_last_error()), std::string(1023, 'x'));
}

TEST(COptions, DefaultsAreThoseOfCxx) {
  const auto host = c::to_options(c::default_host_options());
  ASSERT_TRUE(host);
  const HostOptions h;
  EXPECT_EQ(host->memory, h.memory);
  EXPECT_EQ(host->swap_directory + host->stats_socket, "");
  EXPECT_EQ(host->swap_persist, h.swap_persist);
  EXPECT_EQ(host->swap_in_batch_pages, h.swap_in_batch_pages);
  EXPECT_EQ(host->swap_async_write_pages, h.swap_async_write_pages);
  EXPECT_EQ(host->swap_retry_timeout, h.swap_retry_timeout);
  EXPECT_EQ(host->min_free, h.min_free);
  EXPECT_EQ(host->memory_ladder, h.memory_ladder);
  EXPECT_EQ(host->balance_period, h.balance_period);
  EXPECT_EQ(host->idle_tax, h.idle_tax);
  EXPECT_EQ(host->sample_pages, h.sample_pages);
  EXPECT_EQ(host->sample_period, h.sample_period);
  EXPECT_EQ(host->balloon_max_percent, h.balloon_max_percent);
  EXPECT_EQ(host->balloon_timeout, h.balloon_timeout);
  EXPECT_EQ(host->stop_timeout, h.stop_timeout);
  EXPECT_EQ(host->placement, h.placement);
  EXPECT_EQ(host->rebalance_period, h.rebalance_period);
  EXPECT_EQ(host->rebalance, h.rebalance);
  EXPECT_EQ(host->rebalance_imbalance, h.rebalance_imbalance);
  EXPECT_EQ(host->rebalance_improvement, h.rebalance_improvement);
  EXPECT_EQ(host->rebalance_swap, h.rebalance_swap);
  EXPECT_EQ(host->rebalance_swap_interval, h.rebalance_swap_interval);
  EXPECT_EQ(host->rebalance_fairness_interval, h.rebalance_fairness_interval);
  EXPECT_EQ(host->rebalance_locality_weight, h.rebalance_locality_weight);
  EXPECT_EQ(host->rebalance_cool_down, h.rebalance_cool_down);
  EXPECT_EQ(host->rebalance_max_moves, h.rebalance_max_moves);
  EXPECT_EQ(host->cpu_weights, h.cpu_weights);
  EXPECT_EQ(host->migration_rate_max, h.migration_rate_max);
  EXPECT_EQ(host->share_scan_ghz, h.share_scan_ghz);
  EXPECT_EQ(host->share_scan_time, h.share_scan_time);
  EXPECT_EQ(host->share_rate_max, h.share_rate_max);
  EXPECT_EQ(host->alloc_guest_large_page, h.alloc_guest_large_page);
  EXPECT_EQ(host->watchdog_timeout, h.watchdog_timeout);
  EXPECT_EQ(host->stats_control, h.stats_control);
  EXPECT_EQ(host->scheduler, h.scheduler);
  EXPECT_EQ(host->isolation, h.isolation);
  EXPECT_EQ(host->swap_io, h.swap_io);
  EXPECT_EQ(host->management, h.management);

  const auto guest = c::to_options(c::default_guest_options());
  ASSERT_TRUE(guest);
  const GuestOptions g;
  EXPECT_EQ(guest->name + guest->swap_directory + guest->share_salt, "");
  EXPECT_EQ(guest->memory + guest->reservation + guest->limit, 0u);
  EXPECT_EQ(guest->shares, g.shares);
  EXPECT_EQ(guest->pool, g.pool);
  EXPECT_EQ(guest->idle_tax, g.idle_tax);
  EXPECT_EQ(guest->balloon_max, g.balloon_max);
  EXPECT_EQ(guest->node_affinity, g.node_affinity);
  EXPECT_EQ(guest->rebalance, g.rebalance);
  EXPECT_EQ(guest->bind_memory, g.bind_memory);
  EXPECT_EQ(guest->large_pages, g.large_pages);
  EXPECT_EQ(guest->page_sharing, g.page_sharing);
  EXPECT_EQ(guest->core_dump, g.core_dump);

  const auto pool = c::to_options(c::default_pool_options());
  ASSERT_TRUE(pool);
  EXPECT_EQ(pool->shares, PoolOptions{}.shares);
  EXPECT_EQ(pool->expandable_reservation, PoolOptions{}.expandable_reservation);
  EXPECT_EQ(pool->reservation + pool->limit, 0u);
}

TEST(COptions, FieldsArriveInTheirOwn) {
  auto o = c::default_guest_options();
  const std::int32_t nodes[] = {3, 1};
  o.name = "n";
  o.memory = 1;
  o.reservation = 2;
  o.limit = 3;
  o.shares = VMM_SHARES_HIGH;
  o.pool = "/p";
  o.swap_directory = "/d";
  o.share_salt = "s";
  o.balloon_max = 4;
  o.idle_tax = 0.25;
  o.node_affinity = nodes;
  o.node_affinity_count = 2;
  auto guest = c::to_options(o);
  ASSERT_TRUE(guest);
  EXPECT_EQ(guest->name + guest->pool + guest->swap_directory + guest->share_salt, "n/p/ds");
  EXPECT_EQ(guest->memory * 100 + guest->reservation * 10 + guest->limit, 123u);
  EXPECT_EQ(guest->shares, Shares::high());
  EXPECT_EQ(guest->node_affinity, (std::vector<int>{3, 1}));
  EXPECT_FALSE(guest->balloon_max || guest->idle_tax) << "not in `set`";
  o.set = VMM_GUEST_BALLOON_MAX | VMM_GUEST_IDLE_TAX;
  guest = c::to_options(o);
  ASSERT_TRUE(guest);
  EXPECT_EQ(guest->balloon_max, 4u);
  EXPECT_EQ(guest->idle_tax, 0.25);
  o.set = VMM_GUEST_SHARES;  // no optional field of the options
  EXPECT_FALSE(c::to_options(o));
  o.set = 0;
  o.node_affinity = nullptr;
  EXPECT_FALSE(c::to_options(o));
}

// Each bit names its own field, and only that.
TEST(COptions, EachBitOfAChangeSetsOneField) {
  const auto host_fields = [](std::uint64_t set) {
    vmm_host_change o{};
    o.size = sizeof(o);
    o.set = set;
    const auto r = c::to_change(o);
    EXPECT_TRUE(r);
    const auto& h = *r;
    return std::array<bool, 15>{h.memory.has_value(),          h.min_free.has_value(),
                                h.memory_ladder.has_value(),   h.balance_period.has_value(),
                                h.idle_tax.has_value(),        h.sample_pages.has_value(),
                                h.sample_period.has_value(),   h.balloon_max_percent.has_value(),
                                h.balloon_timeout.has_value(), h.stop_timeout.has_value(),
                                h.rebalance.has_value(),       h.migration_rate_max.has_value(),
                                h.share_scan_ghz.has_value(),  h.share_scan_time.has_value(),
                                h.share_rate_max.has_value()};
  };
  const auto guest_fields = [](std::uint64_t set) {
    vmm_guest_change o{};
    o.size = sizeof(o);
    o.set = set;
    const auto r = c::to_change(o);
    EXPECT_TRUE(r);
    const auto& g = *r;
    return std::array<bool, 8>{g.shares.has_value(),        g.reservation.has_value(), g.limit.has_value(),
                               g.pool.has_value(),          g.idle_tax.has_value(),    g.balloon_max.has_value(),
                               g.node_affinity.has_value(), g.rebalance.has_value()};
  };
  const auto pool_fields = [](std::uint64_t set) {
    vmm_pool_change o{};
    o.size = sizeof(o);
    o.set = set;
    const auto r = c::to_change(o);
    EXPECT_TRUE(r);
    const auto& p = *r;
    return std::array<bool, 4>{p.shares.has_value(), p.reservation.has_value(), p.limit.has_value(),
                               p.expandable_reservation.has_value()};
  };
  const auto expect_one_each = [](auto fields) {
    auto expected = fields(0);
    for (std::size_t bit = 0; bit < expected.size(); ++bit) {
      expected.fill(false);
      expected[bit] = true;
      EXPECT_EQ(fields(std::uint64_t{1} << bit), expected) << bit;
    }
  };
  expect_one_each(host_fields);
  expect_one_each(guest_fields);
  expect_one_each(pool_fields);
}

}  // namespace
}  // namespace vmm
