// Hazard 25: khugepaged works through guests that are taken from and given back to: it fills none of our holes.
#include <random>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "support/deadline.h"
#include "support/kernel_view.h"
#include "support/page_oracle.h"
#include "support/system_setting.h"
#include "support/temp_directory.h"
#include "support/way.h"

namespace vmm::test {
namespace {

class Hazard25_HugePages : public EachWay {};

TEST_P(Hazard25_HugePages, KhugepagedFillsNoHole) {
  const Deadline deadline(std::chrono::seconds(280), "khugepaged");
  const std::string thp = "/sys/kernel/mm/transparent_hugepage/";
  // Advised mappings only: the machine may be full of others.
  const SystemSetting enabled(thp + "enabled", "madvise"), defrag(thp + "khugepaged/defrag", "1"),
      pages(thp + "khugepaged/pages_to_scan", "100000"), scan_sleep(thp + "khugepaged/scan_sleep_millisecs", "0"),
      alloc_sleep(thp + "khugepaged/alloc_sleep_millisecs", "0"), holes(thp + "khugepaged/max_ptes_none", "511"),
      swapped(thp + "khugepaged/max_ptes_swap", "256"), shared(thp + "khugepaged/max_ptes_shared", "256");
  if (!enabled.changed() || !scan_sleep.changed()) GTEST_SKIP() << "khugepaged cannot be configured here";
  const TempDirectory directory;
  auto host = Host::create(host_options(directory.path(), 128 * MiB));
  ASSERT_TRUE(host) << host.error().message();
  auto guest = host->create_guest(guest_options("g", 32 * MiB));
  ASSERT_TRUE(guest);
  PageOracle oracle(guest->memory(), 1);
  // A hole in every run, so that there is something to fill in each huge page.
  for (std::uint64_t page = 0; page < oracle.pages(); ++page)
    if (page % 64 != 63) oracle.write(page);
  std::mt19937_64 random(4);
  const auto scans = [&] { return system_number(thp + "khugepaged/full_scans"); };
  for (int round = 0; round < 6; ++round) {
    ASSERT_TRUE(guest->reclaim(round % 2 == 0 ? 32 * MiB : 8 * MiB));
    // A page here and there comes back; khugepaged looks at the whole guest twice meanwhile.
    for (std::uint64_t page = 5; page < oracle.pages(); page += 200)
      ASSERT_EQ(oracle.look(page), PageOracle::Look::right) << page;
    const auto before = scans();
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (scans() < before + 2 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    ASSERT_GE(scans(), before + 2) << "khugepaged did not look";
    // What is swapped is nowhere in memory.
    const auto s = *guest->stats();
    const auto in_memory = resident_pages(guest->memory().data(), oracle.pages()) * kPageSize;
    EXPECT_LE(in_memory + s.swapped, s.memory) << "holes were filled";
    for (int n = 0; n < 2000; ++n) {
      const auto page = random() % oracle.pages();
      ASSERT_EQ(oracle.look(page), PageOracle::Look::right) << page;
      if (n % 2 == 0) oracle.write(page);
    }
  }
  const auto tally = oracle.check();
  EXPECT_EQ(tally.wrong + tally.lost, 0U);
}

// A guest that nobody takes from has all its memory in huge pages.
TEST_P(Hazard25_HugePages, ANativeGuestHasThem) {
  const SystemSetting enabled("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
  const TempDirectory directory;
  auto host = Host::create(host_options(directory.path(), 128 * MiB));
  ASSERT_TRUE(host) << host.error().message();
  auto guest = host->create_guest(guest_options("g", 16 * MiB));
  ASSERT_TRUE(guest);
  PageOracle oracle(guest->memory(), 1);
  oracle.write(0, oracle.pages());
  const auto* const start = guest->memory().data();
  const auto before = smaps_bytes(start, 16 * MiB, "AnonHugePages");
  if (before == 0) GTEST_SKIP() << "the kernel gave no huge pages";
  EXPECT_EQ(before, 16 * MiB);
  EXPECT_EQ(oracle.check().wrong, 0U);
}

VMM_EACH_WAY(Hazard25_HugePages);

}  // namespace
}  // namespace vmm::test
