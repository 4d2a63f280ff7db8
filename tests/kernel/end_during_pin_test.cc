// A host that ends while a pin waits for memory that will never come: the pin fails, nothing hangs.
#include <atomic>
#include <cstring>
#include <thread>

#include <gtest/gtest.h>

#include "vmm/vmm.h"

namespace vmm {
namespace {

TEST(EndDuringPin, ThePinFailsAndNothingHangs) {
  if (!probe().has("userfaultfd")) GTEST_SKIP() << "userfaultfd: " << probe().find("userfaultfd")->detail;
  HostOptions host_options;
  host_options.memory = 32 * MiB;
  host_options.management = Management::at_creation;
  auto host = Host::create(host_options);
  ASSERT_TRUE(host) << host.error().message();
  // All that can be reserved is, and touched; the other guest's pages find no memory.
  GuestOptions reserved;
  reserved.name = "reserved";
  reserved.memory = 64 * MiB;
  reserved.large_pages = false;
  std::optional<Guest> first;
  for (reserved.reservation = 32 * MiB; !first && reserved.reservation > 0; reserved.reservation -= 1 * MiB)
    if (auto guest = host->create_guest(reserved)) first.emplace(std::move(*guest));
  ASSERT_TRUE(first);
  GuestOptions starved;
  starved.name = "starved";
  starved.memory = 8 * MiB;
  starved.large_pages = false;
  auto second = host->create_guest(starved);
  ASSERT_TRUE(second) << second.error().message();
  std::atomic<bool> failed{false};
  std::thread pinning([&] {
    // More than there is: some page of it waits until the host ends, or the pins' limit refuses.
    auto pin = second->pin(0, 8 * MiB);
    failed = !pin;
  });
  // Waits for the pin to wait or to have been refused; both must end below.
  while (!failed && second->stats()->stalls == 0 && second->stats()->pinned == 0) std::this_thread::yield();
  *host = Host();
  pinning.join();
  EXPECT_TRUE(second->memory().empty());
}

}  // namespace
}  // namespace vmm
