// Huge pages that were split by reclaim are whole again when memory is plentiful.
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "vmm/vmm.h"

namespace vmm {
namespace {

// Bytes of the range that the kernel maps by huge pages.
std::uint64_t huge_bytes(std::span<const std::byte> range) {
  std::ifstream smaps("/proc/self/smaps");
  const auto begin = reinterpret_cast<std::uintptr_t>(range.data());
  std::uint64_t bytes = 0;
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long from = 0, to = 0, kib = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) inside = from < begin + range.size() && to > begin;
    if (inside && std::sscanf(line.c_str(), "AnonHugePages: %lu kB", &kib) == 1) bytes += kib * KiB;
  }
  return bytes;
}

TEST(Mend, HugePagesAreWholeAgainAfterReclaim) {
  const auto caps = probe();
  if (caps.level != CapabilityLevel::full) GTEST_SKIP() << "pages are copied at level " << to_string(caps.level);
  HostOptions host_options;
  host_options.memory = 512 * MiB;
  host_options.scheduler = Scheduler::manual;
  host_options.management = Management::at_creation;
  auto host = Host::create(host_options);
  ASSERT_TRUE(host) << host.error().message();
  GuestOptions guest_options;
  guest_options.name = "huge";
  guest_options.memory = 16 * MiB;
  auto guest = host->create_guest(guest_options);
  ASSERT_TRUE(guest) << guest.error().message();
  const auto memory = guest->memory();
  const auto words = [&](auto&& each) {
    for (std::uint64_t at = 0; at < memory.size(); at += 512) each(at);
  };
  words([&](std::uint64_t at) {
    const auto value = at + 1;
    std::memcpy(&memory[at], &value, sizeof value);
  });
  if (huge_bytes(memory) == 0)
    GTEST_SKIP() << "transparent huge pages are off: " << caps.find("transparent_huge_pages")->detail;
  ASSERT_EQ(guest->reclaim(16 * MiB).value(), 16 * MiB);
  EXPECT_EQ(huge_bytes(memory), 0u);
  std::uint64_t wrong = 0;
  const auto check = [&](std::uint64_t at) {
    const auto value = at + 1;
    wrong += std::memcmp(&memory[at], &value, sizeof value) != 0;
  };
  words(check);
  EXPECT_EQ(huge_bytes(memory), 0u) << "pages come back from the swap file as small ones";
  // The worker does it between rounds; each round mends a few.
  for (int round = 1; round < 10000 && huge_bytes(memory) < memory.size(); ++round) {
    ASSERT_TRUE(host->tick(std::chrono::seconds(2 * round)));
    std::this_thread::yield();
  }
  EXPECT_EQ(huge_bytes(memory), memory.size());
  words(check);
  EXPECT_EQ(wrong, 0u);
  // And they go out and come back as before.
  ASSERT_EQ(guest->reclaim(16 * MiB).value(), 16 * MiB);
  words(check);
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace vmm
