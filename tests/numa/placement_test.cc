// Homes of guests on a machine of several nodes: they are taken in turn, and a guest's pages are on its home, asked of
// the kernel and not of the library's books; also after they were swapped. Nodes without processors are nobody's home.
#include <sched.h>

#include <cerrno>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/host_rig.h"
#include "support/kernel_view.h"
#include "support/numa.h"
#include "support/way.h"
#include "vmm/vmm.h"

namespace vmm::test {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr std::uint64_t kPages = 1024;

class Homes : public SeveralNodesEachWay {
 protected:
  // A budget that every node's buffers leave enough of.
  static HostRig rig() {
    return HostRig(GetParam(), [](HostOptions& o) { o.memory = 256 * MiB; });
  }
  static std::vector<int> nodes_of(const Guest& guest) {
    return nodes_of_pages(guest.memory().data(), guest.memory().size() / kPageSize);
  }
  static std::vector<int> all_on(int node) { return std::vector<int>(kPages, node); }
};

TEST_P(Homes, AreTakenInTurnAndHoldTheirGuestsPages) {
  auto host = rig();
  const auto homes = home_nodes();
  for (std::size_t i = 0; i < 2 * homes.size(); ++i) {
    const auto guest = host.add("g" + std::to_string(i), kPages, i >= homes.size());
    const int home = homes[i % homes.size()];
    EXPECT_EQ(guest.stats()->home_node, home) << i;
    fill_guest(guest, i);
    EXPECT_EQ(nodes_of(guest), all_on(home)) << i;
  }
}

// Into the swap file and back, and pages that were dropped: whoever brings a page brings it home.
TEST_P(Homes, PagesComeBackToThem) {
  auto host = rig();
  std::vector<Guest> guests;
  for (const int home : home_nodes()) {
    guests.push_back(host.add("g" + std::to_string(home), kPages));
    fill_guest(guests.back(), static_cast<std::uint64_t>(home));
  }
  for (auto& guest : guests) {
    const int home = guest.stats()->home_node;
    ASSERT_TRUE(HostRig::reclaim_down_to(guest, 0));
    EXPECT_EQ(wrong_in(guest, static_cast<std::uint64_t>(home)), "");
    EXPECT_EQ(nodes_of(guest), all_on(home)) << "read from the swap file";
    ASSERT_TRUE(guest.discard(0, guest.memory().size()));
    fill_guest(guest, static_cast<std::uint64_t>(home), 2);
    EXPECT_EQ(nodes_of(guest), all_on(home)) << "filled with zeros";
  }
}

TEST_P(Homes, AttachedThreadsRunThere) {
  auto host = rig();
  for (const int home : home_nodes()) {
    auto guest = host.add("g" + std::to_string(home), kPages);
    ASSERT_EQ(guest.stats()->home_node, home);
    const auto seat = guest.attach_current_thread();
    ASSERT_TRUE(seat) << seat.error().message();
    EXPECT_THAT(processors_of_node(home), Contains(::sched_getcpu()));
  }
}

TEST_P(Homes, NodesWithoutProcessorsAreNone) {
  const auto memory_only = memory_only_nodes();
  if (memory_only.empty()) GTEST_SKIP() << "no node of this machine has memory and no processors";
  auto host = rig();
  for (std::size_t i = 0; i < 2 * nodes_with_memory().size(); ++i)
    EXPECT_THAT(memory_only, Not(Contains(host.add("g" + std::to_string(i), 1).stats()->home_node)));
  GuestOptions there;
  there.name = "there";
  there.memory = kPages * kPageSize;
  there.node_affinity = memory_only;
  const auto refused = host.host().create_guest(there);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code.value(), ENODEV) << refused.error().message();
  EXPECT_THAT(refused.error().message(), HasSubstr("no processors"));
}

VMM_EACH_WAY(Homes);

}  // namespace
}  // namespace vmm::test
