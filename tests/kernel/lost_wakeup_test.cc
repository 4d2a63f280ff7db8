// Who waits for a page's lock is rung by whoever held it, also by one who only looked.
#include <poll.h>

#include <gtest/gtest.h>

#include "support/node_rig.h"

namespace vmm {
namespace {

using test::NodeRig;

class LostWakeUp : public test::BackEnds {
 protected:
  static bool rings(const os::Doorbell& bell) {
    pollfd p{bell.fd(), POLLIN, 0};
    return ::poll(&p, 1, 0) == 1;
  }
};

TEST_P(LostWakeUp, TheWorkerRingsForPagesThatItOnlyLookedAt) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.settle(guest);
  auto bell = os::Doorbell::create();
  ASSERT_TRUE(bell);
  guest->table.set_bell(&*bell);
  // Resident: not the writer's.
  guest->table.announce_wait();
  EXPECT_EQ(rig.out().write(guest.memory(), 0, guest->pages(), rig.now()), 0u);
  EXPECT_TRUE(rings(*bell)) << "after a look for pages to write";
  bell->clear();
  // Pinned: not the evictor's.
  ASSERT_TRUE(guest.pins().pin(0, guest->pages(), guest->pages()));
  bell->clear();
  guest->table.announce_wait();
  for (int round = 0; round < 5; ++round)
    EXPECT_EQ(guest.evictor().park(guest->pages(), ~std::uint64_t{0}, rig.now()), 0u);
  EXPECT_TRUE(rings(*bell)) << "after a look for pages to take";
  guest.pins().unpin(0, guest->pages());
  guest->table.set_bell(&rig.faults().bell());
}

VMM_ALL_BACK_ENDS(LostWakeUp);

}  // namespace
}  // namespace vmm
