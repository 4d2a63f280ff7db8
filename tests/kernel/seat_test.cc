// Seats (hazard 40): a thread runs on the home node's processors while it is attached, and gets its affinity back.
#include <sched.h>

#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "host/host_core.h"
#include "os/affinity.h"
#include "support/temp_directory.h"
#include "topology/topology.h"
#include "vmm/vmm.h"

namespace vmm::test {
namespace {

std::vector<int> affinity() { return os::thread_affinity(0).value_or(std::vector<int>{}); }

// A host that takes this machine's first processor for all of node 0, so that binding shows.
class Hazard40_Seats : public testing::Test {
 protected:
  void SetUp() override {
    all_ = affinity();
    if (all_.size() < 2 || all_[0] != 0) GTEST_SKIP() << "needs two processors, the first of them 0";
    const auto topology = topology::Topology::synthetic("node:2 core:1 pu:1");
    ASSERT_TRUE(topology) << topology.error().message();
    HostOptions ho;
    ho.memory = 64 * MiB;
    ho.swap_directory = directory_.path();
    auto core = HostCore::create(ho, *topology);
    ASSERT_TRUE(core) << core.error().message();
    core_ = std::move(*core);
    for (const char* name : {"one", "two"}) {
      GuestOptions go;
      go.name = name;
      go.memory = 1 * MiB;
      go.node_affinity = {0};
      auto guest = core_->create_guest(go);
      ASSERT_TRUE(guest) << guest.error().message();
      guests_.emplace_back(std::move(*guest));
    }
  }
  void TearDown() override {
    guests_.clear();
    if (core_ != nullptr) core_->shut_down();
    EXPECT_EQ(affinity(), all_) << "the test's thread has its affinity back";
  }
  Guest& guest(std::size_t i = 0) { return guests_[i]; }

  std::vector<int> all_;
  const TempDirectory directory_;
  std::shared_ptr<HostCore> core_;
  std::vector<Guest> guests_;
};

TEST_F(Hazard40_Seats, BindsAndRestores) {
  auto seat = guest().attach_current_thread();
  ASSERT_TRUE(seat) << seat.error().message();
  EXPECT_EQ(affinity(), std::vector<int>{0});
  EXPECT_EQ(guest().stats()->attached_threads, 1U);
  EXPECT_EQ(guest().stats()->home_node, 0);
  seat->release();
  EXPECT_EQ(affinity(), all_);
  EXPECT_EQ(guest().stats()->attached_threads, 0U);
}

TEST_F(Hazard40_Seats, MeasureOnlyLeavesTheAffinityAlone) {
  auto seat = guest().attach_current_thread(Attach::measure_only);
  ASSERT_TRUE(seat) << seat.error().message();
  EXPECT_EQ(affinity(), all_);
  volatile unsigned work = 0;
  while (guest().stats()->attached_cpu_ns == 0) work = work + 1;
  EXPECT_EQ(guest().stats()->attached_threads, 1U);
}

TEST_F(Hazard40_Seats, DroppedTwiceIsDroppedOnce) {
  auto seat = guest().attach_current_thread();
  ASSERT_TRUE(seat);
  seat->release();
  // What the thread chooses afterwards is its own: the second drop does not touch it.
  ASSERT_TRUE(os::set_thread_affinity(0, {all_.back()}));
  seat->release();
  *seat = Seat();
  EXPECT_EQ(affinity(), std::vector<int>{all_.back()});
  ASSERT_TRUE(os::set_thread_affinity(0, all_));
}

TEST_F(Hazard40_Seats, DroppedByAnotherThread) {
  auto seat = guest().attach_current_thread();
  ASSERT_TRUE(seat);
  std::thread([&] { seat->release(); }).join();
  EXPECT_EQ(affinity(), all_);
  EXPECT_EQ(guest().stats()->attached_threads, 0U);
  EXPECT_TRUE(guest(1).attach_current_thread()) << "the thread may have another seat now";
}

TEST_F(Hazard40_Seats, ThreadEndsWhileAttached) {
  std::optional<Seat> seat;
  std::thread([&] {
    auto mine = guest().attach_current_thread();
    ASSERT_TRUE(mine) << mine.error().message();
    seat = std::move(*mine);
  }).join();
  EXPECT_EQ(guest().stats()->attached_cpu_ns, 0U) << "nobody's time is counted for it";
  // Threads that come after it, and may get its id, are left alone by the drop.
  std::promise<void> checked;
  std::promise<std::vector<int>> before, after;
  std::thread later([&] {
    before.set_value(affinity());
    checked.get_future().wait();
    after.set_value(affinity());
  });
  const auto was = before.get_future().get();
  seat.reset();
  checked.set_value();
  EXPECT_EQ(after.get_future().get(), was);
  later.join();
  EXPECT_EQ(guest().stats()->attached_threads, 0U);
}

TEST_F(Hazard40_Seats, ThreadOfAnotherGuestIsRefused) {
  auto seat = guest(0).attach_current_thread();
  ASSERT_TRUE(seat);
  const auto second = guest(1).attach_current_thread();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::already_attached);
  EXPECT_EQ(guest(1).stats()->attached_threads, 0U);
  EXPECT_EQ(affinity(), std::vector<int>{0});
}

TEST_F(Hazard40_Seats, AffinityWithoutAProcessorOfTheHomeNode) {
  ASSERT_TRUE(os::set_thread_affinity(0, {1}));
  const auto seat = guest().attach_current_thread();
  EXPECT_FALSE(seat);
  if (!seat) {
    EXPECT_EQ(seat.error().code, std::errc::invalid_argument);
    EXPECT_NE(seat.error().remedy.find("measure_only"), std::string::npos) << seat.error().message();
  }
  EXPECT_EQ(affinity(), std::vector<int>{1});
  EXPECT_TRUE(guest().attach_current_thread(Attach::measure_only)) << "the failed attach left no seat";
  ASSERT_TRUE(os::set_thread_affinity(0, all_));
}

TEST_F(Hazard40_Seats, GuestEndsBeforeItsSeat) {
  auto seat = guest().attach_current_thread();
  ASSERT_TRUE(seat);
  guests_[0] = Guest();
  EXPECT_EQ(affinity(), std::vector<int>{0});
  seat->release();
  EXPECT_EQ(affinity(), all_);
}

}  // namespace
}  // namespace vmm::test
