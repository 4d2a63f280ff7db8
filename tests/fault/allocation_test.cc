// Hazard 28: the Nth allocation fails, in a caller of the library or in its worker and scheduler, once and for good.
// A clean error or another try; no crash, no wrong byte, nothing left behind, and fault threads never allocate.
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "fault/allocation_hook.h"
#include "fault/scenario.h"
#include "support/deadline.h"
#include "support/process_state.h"
#include "support/temp_directory.h"

namespace vmm::test {
namespace {

class Hazard28_Allocation : public testing::TestWithParam<std::tuple<Way, Who>> {};

TEST_P(Hazard28_Allocation, FailsAtTheNthTime) {
  const auto& [way, who] = GetParam();
  if (const auto why = unable(way); !why.empty()) GTEST_SKIP() << why;
  const TempDirectory directory;
  ScenarioOptions options;
  options.way = way;
  options.management = Management::on_demand;
  options.swap_directory = directory.path();
  options.guest_memory = 1 * MiB;
  const CatchSignals catch_signals;
  const auto run = [&] {
    Scenario scenario(options);
    scenario.enter_api = enter_api;
    scenario.leave_api = leave_api;
    return scenario.run();
  };
  ASSERT_EQ(run().complaint, "");
  const auto descriptors = open_descriptors();
  const auto maps = mappings();
  const bool full = std::getenv("VMM_FULL") != nullptr;
  unsigned runs = 0, errors = 0;
  for (const bool for_good : {false, true}) {
    bool hit = true;
    for (std::uint64_t n = 1; hit; n += full || n < 16 ? 1 : n / 8) {
      const std::string where = "allocation " + std::to_string(n) + (for_good ? " and all after it fail" : " fails");
      SCOPED_TRACE(where);
      const Deadline deadline(std::chrono::seconds(60), where);
      ScenarioResult result;
      {
        const AllocationHook hook(who, n, for_good);
        result = run();
        hit = hook.hit();
        ASSERT_EQ(hook.by_fault_threads(), 0U);
      }
      ++runs;
      errors += result.errors;
      ASSERT_EQ(result.complaint, "");
      ASSERT_EQ(result.wrong + result.lost, 0U);
      ASSERT_EQ(open_descriptors(), descriptors);
      ASSERT_TRUE(library_threads_gone());
      ASSERT_TRUE(directory.entries().empty());
    }
  }
  EXPECT_LE(mappings(), maps + 8 + runs / 16);
  if (who == Who::caller) {
    EXPECT_GT(errors, 0U);
  }
  RecordProperty("runs", static_cast<int>(runs));
}

INSTANTIATE_TEST_SUITE_P(, Hazard28_Allocation,
                         testing::Combine(testing::Values(kMove, kWriteProtect),
                                          testing::Values(Who::caller, Who::workers)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param).name) +
                                  (std::get<1>(test.param) == Who::caller ? "_caller" : "_workers");
                         });

class Hazard28_Making : public testing::TestWithParam<Who> {};

// Each allocation there is in making a host and a guest that is managed from the first page on: the longer scenario
// above tries a selection of them.
TEST_P(Hazard28_Making, OfAHostAndItsGuestFailsCleanlyAtEveryAllocation) {
  const TempDirectory directory;
  HostOptions ho;
  ho.memory = 32 * MiB;
  ho.management = Management::at_creation;
  ho.swap_directory = directory.path();
  GuestOptions go;
  go.name = "g";
  go.memory = 1 * MiB;
  const auto make = [&]() -> Result<void> {
    enter_api();
    const std::unique_ptr<void, void (*)(void*)> leave(&go, [](void*) { leave_api(); });
    auto host = Host::create(ho);
    if (!host) return tl::unexpected(host.error());
    auto guest = host->create_guest(go);
    if (!guest) return tl::unexpected(guest.error());
    guest->memory()[0] = std::byte{1};
    return {};
  };
  ASSERT_TRUE(make());
  const auto descriptors = open_descriptors();
  for (const bool for_good : {false, true}) {
    bool hit = true;
    unsigned refused = 0;
    for (std::uint64_t n = 1; hit; ++n) {
      SCOPED_TRACE("allocation " + std::to_string(n) + (for_good ? " and all after it fail" : " fails"));
      Result<void> made;
      {
        const AllocationHook hook(GetParam(), n, for_good);
        made = make();
        hit = hook.hit();
      }
      if (!made) {
        ++refused;
        ASSERT_EQ(made.error().code, std::errc::not_enough_memory) << made.error().message();
      }
      ASSERT_EQ(open_descriptors(), descriptors);
      ASSERT_TRUE(library_threads_gone());
      ASSERT_TRUE(directory.entries().empty());
    }
    // Workers may have tried again with success.
    if (for_good || GetParam() == Who::caller) {
      EXPECT_GT(refused, 0U);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, Hazard28_Making, testing::Values(Who::caller, Who::workers), [](const auto& test) {
  return std::string(test.param == Who::caller ? "caller" : "workers");
});

// An attach that finds no memory leaves the thread as it was: no seat, its old affinity.
TEST(Hazard28_Attach, WithoutMemoryLeavesTheThreadAsItWas) {
  const TempDirectory directory;
  HostOptions ho;
  ho.memory = 32 * MiB;
  ho.swap_directory = directory.path();
  auto host = Host::create(ho);
  ASSERT_TRUE(host) << host.error().message();
  GuestOptions go;
  go.name = "g";
  go.memory = 1 * MiB;
  auto guest = host->create_guest(go);
  ASSERT_TRUE(guest) << guest.error().message();
  bool hit = true;
  for (std::uint64_t n = 1; hit; ++n) {
    SCOPED_TRACE(n);
    Result<Seat> seat;
    {
      const AllocationHook hook(Who::caller, n, true);
      enter_api();
      seat = guest->attach_current_thread();
      leave_api();
      hit = hook.hit();
    }
    if (hit) {
      ASSERT_FALSE(seat);
      ASSERT_EQ(seat.error().code, std::errc::not_enough_memory);
      ASSERT_EQ(guest->stats()->attached_threads, 0U);
    } else {
      ASSERT_TRUE(seat) << seat.error().message();
      ASSERT_EQ(guest->stats()->attached_threads, 1U);
    }
  }
}

}  // namespace
}  // namespace vmm::test
