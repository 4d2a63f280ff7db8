// Limits and reclaim: kept from the first touch on, and no reason to wait for ever.
#include <gtest/gtest.h>

#include "support/host_rig.h"

namespace vmm {
namespace {

class Limits : public test::EachWay {};

TEST_P(Limits, AGuestIsKeptToItsLimitAlsoWhereTheHostHasRoom) {
  const test::TempDirectory directory;
  auto host = Host::create(host_options(directory.path(), 256 * MiB));
  ASSERT_TRUE(host) << host.error().message();
  auto options = guest_options("limited", 24 * MiB);
  options.limit = 8 * MiB;
  auto guest = host->create_guest(options);
  ASSERT_TRUE(guest) << guest.error().message();
  test::fill_guest(*guest, 1);
  EXPECT_LE(guest->stats()->resident, options.limit);
  EXPECT_EQ(test::wrong_in(*guest, 1), "");
  EXPECT_LE(guest->stats()->resident, options.limit);
}

// All of the limit reserved: pages are exchanged within it, up to the last one of the guest.
TEST_P(Limits, AGuestReservedUpToItsLimitUsesAllOfItsMemory) {
  const test::TempDirectory directory;
  auto host = Host::create(host_options(directory.path(), 256 * MiB));
  ASSERT_TRUE(host) << host.error().message();
  auto options = guest_options("reserved", 24 * MiB);
  options.limit = options.reservation = 8 * MiB;
  auto guest = host->create_guest(options);
  ASSERT_TRUE(guest) << guest.error().message();
  for (std::uint64_t version = 1; version <= 3; ++version) {
    test::fill_guest(*guest, 1, version);
    ASSERT_EQ(test::wrong_in(*guest, 1, version), "");
  }
  EXPECT_LE(guest->stats()->resident, options.limit);
}

// The pinned range is not here yet and all that is here has to go: the marks of the pin protect nothing of it.
TEST_P(Limits, APinOfOtherPagesMakesRoomForItself) {
  const test::TempDirectory directory;
  auto host = Host::create(host_options(directory.path(), 256 * MiB));
  ASSERT_TRUE(host) << host.error().message();
  auto options = guest_options("pinned", 24 * MiB);
  options.limit = 8 * MiB;
  auto guest = host->create_guest(options);
  ASSERT_TRUE(guest) << guest.error().message();
  test::fill_guest(*guest, 1);
  auto pin = guest->pin(0, 8 * MiB);
  ASSERT_TRUE(pin) << pin.error().message();
  pin->release();
  EXPECT_EQ(test::wrong_in(*guest, 1), "");
}

TEST_P(Limits, ReclaimTakesWhatWasAskedForAndLittleMore) {
  const test::TempDirectory directory;
  auto host = Host::create(host_options(directory.path(), 256 * MiB));
  ASSERT_TRUE(host) << host.error().message();
  auto guest = host->create_guest(guest_options("g", 64 * MiB));
  ASSERT_TRUE(guest) << guest.error().message();
  test::fill_guest(*guest, 1);
  const auto freed = guest->reclaim(16 * MiB);
  ASSERT_TRUE(freed) << freed.error().message();
  EXPECT_GE(*freed, 16 * MiB);
  EXPECT_LE(*freed, 16 * MiB + kHugePageSize);  // whole runs
  EXPECT_EQ(test::wrong_in(*guest, 1), "");
}

VMM_EACH_WAY(Limits);

}  // namespace
}  // namespace vmm
