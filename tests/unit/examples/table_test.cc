#include "table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/units.h"

namespace tenants {
namespace {

TEST(DemoTableTest, TheSummaryTellsTheHostsStateWhatIsSharedAndEachPoolButTheRoot) {
  vmm::HostStats host;
  host.memory = 100 * vmm::MiB;
  host.consumed = 97 * vmm::MiB;
  host.free = 3 * vmm::MiB;
  host.state = vmm::MemoryState::hard;
  host.shared = 60 * vmm::MiB;
  host.shared_common = 10 * vmm::MiB;
  host.shared_saved = 50 * vmm::MiB;
  vmm::PoolStats root, production;
  root.name = "/";
  production.name = "/production";
  production.shares = 327680;
  production.consumed = 70 * vmm::MiB;
  host.pools = {root, production};
  EXPECT_THAT(
      summary_lines(host),
      testing::ElementsAre("host: state hard, budget 100.0, consumed 97.0 (overhead 0.0), free 3.0, swapped 0.0 MiB",
                           "sharing: 60.0 MiB of the guests show 10.0, 50.0 MiB are saved",
                           "pool /production: 327680 shares, consumed 70.0 MiB"));
}

}  // namespace
}  // namespace tenants
