// Placement on the machine as it is: home nodes are real ones, chosen in turn, and said with their reason.
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/kernel_view.h"
#include "support/temp_directory.h"
#include "topology/topology.h"
#include "vmm/vmm.h"

namespace vmm::test {
namespace {

TEST(PlacementLive, HomeNodesAreRealAndTakenInTurn) {
  const TempDirectory directory;
  HostOptions ho;
  ho.memory = 128 * MiB;
  ho.swap_directory = directory.path();
  ho.scheduler = Scheduler::manual;
  auto host = Host::create(ho);
  ASSERT_TRUE(host) << host.error().message();
  std::vector<Event> events;
  host->on_event([&](const Event& e) { events.push_back(e); });
  const auto topology = topology::Topology::discover();
  ASSERT_TRUE(topology);
  std::set<int> homes;
  for (const auto& node : topology->nodes())
    if (!node.memory_only) homes.insert(node.id);
  std::vector<Guest> guests;
  std::set<int> used;
  for (std::size_t i = 0; i < 2 * homes.size(); ++i) {
    GuestOptions go;
    go.name = "g" + std::to_string(i);
    go.memory = 2 * MiB;
    go.large_pages = false;
    auto guest = host->create_guest(go);
    ASSERT_TRUE(guest) << guest.error().message();
    guest->memory()[0] = std::byte{1};
    const auto home = guest->stats()->home_node;
    EXPECT_EQ(homes.count(home), 1U);
    EXPECT_EQ(node_of_page(guest->memory().data()), home);
    used.insert(home);
    guests.push_back(std::move(*guest));
  }
  EXPECT_EQ(used, homes) << "each node got one";
  ASSERT_TRUE(host->tick(std::chrono::seconds(1)));
  unsigned reasons = 0;
  for (const auto& e : events)
    if (e.kind == EventKind::guest_created) {
      EXPECT_THAT(e.reason, testing::HasSubstr("node "));
      EXPECT_EQ(e.mechanism, "placement");
      ++reasons;
    }
  EXPECT_EQ(reasons, guests.size());
}

TEST(PlacementLive, AffinityIsObeyed) {
  const TempDirectory directory;
  HostOptions ho;
  ho.memory = 64 * MiB;
  ho.swap_directory = directory.path();
  auto host = Host::create(ho);
  ASSERT_TRUE(host);
  const auto nodes = host->stats()->nodes;
  for (const int node : nodes) {
    GuestOptions go;
    go.name = "on " + std::to_string(node);
    go.memory = 1 * MiB;
    go.node_affinity = {node};
    auto guest = host->create_guest(go);
    ASSERT_TRUE(guest) << guest.error().message();
    EXPECT_EQ(guest->stats()->home_node, node);
  }
}

}  // namespace
}  // namespace vmm::test
