// Hazard 24c: long calls keep mmap waiting, so what looks at or changes many pages goes in slices of at most 32 MiB.
// This binary's own madvise and ioctl see how much each call covers.
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "os/kernel_abi.h"
#include "support/page_oracle.h"
#include "support/temp_directory.h"
#include "support/way.h"

namespace {

std::atomic<std::uint64_t> largest_scan{0}, largest_drop{0}, largest_uffd{0};

void note(std::atomic<std::uint64_t>& largest, std::uint64_t bytes) noexcept {
  for (auto seen = largest.load(); bytes > seen && !largest.compare_exchange_weak(seen, bytes);) {
  }
}

}  // namespace

extern "C" int madvise(void* start, size_t bytes, int advice) noexcept {
  if (advice == MADV_DONTNEED || advice == MADV_POPULATE_WRITE || advice == MADV_PAGEOUT || advice == MADV_COLD)
    note(largest_drop, bytes);
  return static_cast<int>(::syscall(SYS_madvise, start, bytes, advice));
}

extern "C" int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list arguments;
  va_start(arguments, request);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  if (request == PAGEMAP_SCAN) {
    const auto* scan = static_cast<const pm_scan_arg*>(argument);
    note(largest_scan, scan->end - scan->start);
  }
  if (request == UFFDIO_COPY) note(largest_uffd, static_cast<const uffdio_copy*>(argument)->len);
  if (request == UFFDIO_MOVE) note(largest_uffd, static_cast<const uffdio_move*>(argument)->len);
  if (request == UFFDIO_ZEROPAGE) note(largest_uffd, static_cast<const uffdio_zeropage*>(argument)->range.len);
  if (request == UFFDIO_WRITEPROTECT) note(largest_uffd, static_cast<const uffdio_writeprotect*>(argument)->range.len);
  return static_cast<int>(::syscall(SYS_ioctl, fd, request, argument));
}

namespace vmm::test {
namespace {

class Hazard24c_Slices : public EachWay {};

TEST_P(Hazard24c_Slices, NoCallCoversMoreThan32MiB) {
  constexpr std::uint64_t kMost = 32 * MiB, kGuest = 96 * MiB;
  largest_scan = largest_drop = largest_uffd = 0;
  const TempDirectory directory;
  auto options = host_options(directory.path(), 256 * MiB);
  options.scheduler = Scheduler::manual;
  auto host = Host::create(options);
  ASSERT_TRUE(host) << host.error().message();
  auto guest = host->create_guest(guest_options("g", kGuest));
  ASSERT_TRUE(guest) << guest.error().message();
  PageOracle oracle(guest->memory(), 1);
  for (std::uint64_t page = 0; page < oracle.pages(); page += 16) oracle.write(page);
  // Native: the watch counts, discard drops.
  ASSERT_TRUE(host->tick(std::chrono::seconds(1)));
  ASSERT_TRUE(guest->discard(0, 64 * MiB));
  oracle.expect_zeros(0, 64 * MiB / kPageSize);
  // Managed: adoption, reclaim, restore, pin, discard.
  ASSERT_TRUE(guest->reclaim(kGuest));
  ASSERT_TRUE(guest->restore());
  ASSERT_TRUE(guest->pin(48 * MiB, 40 * MiB));
  ASSERT_EQ(oracle.check().wrong, 0U);
  ASSERT_TRUE(guest->discard(0, kGuest));
  ASSERT_TRUE(host->tick(std::chrono::seconds(2)));
  EXPECT_LE(largest_scan, kMost);
  EXPECT_LE(largest_drop, kMost);
  EXPECT_LE(largest_uffd, kMost);
  // They were seen at all.
  EXPECT_GT(largest_drop, 0U);
  EXPECT_GT(largest_uffd, 0U);
}

VMM_EACH_WAY(Hazard24c_Slices);

}  // namespace
}  // namespace vmm::test
