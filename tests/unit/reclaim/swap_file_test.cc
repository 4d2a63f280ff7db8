#include "reclaim/swap_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/mapping.h"
#include "support/fault_injector.h"
#include "support/process_state.h"
#include "support/temp_directory.h"
#include "vmm/units.h"

namespace vmm::reclaim {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

TEST(SwapFileTest, OfNoBytesIsNoFile) {
  const auto before = test::open_descriptors();
  const auto swap = SwapFile::create({"/no/such/directory", "db-1", 0, false});
  ASSERT_TRUE(swap) << swap.error().message();
  EXPECT_EQ(swap->fd(), -1);
  EXPECT_EQ(swap->bytes(), 0U);
  EXPECT_EQ(swap->path(), "");
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST(SwapFileTest, HoldsPagesAndIsGoneWithItsOwner) {
  const test::TempDirectory directory;
  const auto before = test::open_descriptors();
  {
    auto made = SwapFile::create({directory.path(), "db-1", 1 * MiB, false});
    ASSERT_TRUE(made) << made.error().message();
    const SwapFile swap = std::move(*made);
    EXPECT_EQ(swap.bytes(), 1 * MiB);
    EXPECT_EQ(swap.path(), "");
    EXPECT_EQ((::fcntl(swap.fd(), F_GETFL) & O_DIRECT) != 0, swap.direct());
    EXPECT_THAT(directory.entries(), IsEmpty());
    const auto page = os::Mapping::anonymous(2 * kPageSize).value();
    page.data()[17] = std::byte{42};
    constexpr auto kWhole = static_cast<ssize_t>(kPageSize);
    ASSERT_EQ(::pwrite(swap.fd(), page.data(), kPageSize, 1 * MiB - kPageSize), kWhole);
    ASSERT_EQ(::pread(swap.fd(), page.data() + kPageSize, kPageSize, 1 * MiB - kPageSize), kWhole);
    EXPECT_EQ(page.data()[kPageSize + 17], std::byte{42});
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

// Hazard 35: two guests have two files, so a freed slot of one is never read by the other.
TEST(SwapFileTest, TwoGuestsHaveTwoFiles) {
  const test::TempDirectory directory;
  const auto a = SwapFile::create({directory.path(), "same", 1 * MiB, false});
  const auto b = SwapFile::create({directory.path(), "same", 1 * MiB, false});
  ASSERT_TRUE(a && b);
  struct stat of_a {};
  struct stat of_b {};
  ASSERT_EQ(::fstat(a->fd(), &of_a), 0);
  ASSERT_EQ(::fstat(b->fd(), &of_b), 0);
  EXPECT_NE(of_a.st_ino, of_b.st_ino);
}

TEST(SwapFileTest, PersistKeepsTheFileUnderTheGuestsName) {
  const test::TempDirectory directory;
  std::string path;
  {
    const auto swap = SwapFile::create({directory.path(), "db-1", 1 * MiB, true});
    ASSERT_TRUE(swap) << swap.error().message();
    path = swap->path();
  }
  EXPECT_EQ(path, directory.file("db-1." + std::to_string(::getpid()) + ".vswp"));
  EXPECT_EQ(::access(path.c_str(), R_OK | W_OK), 0);
}

TEST(SwapFileTest, IsRefusedWithoutSpace) {
  const test::TempDirectory directory;
  const test::NthCallFails injected(os::Call::fallocate, 1, ENOSPC);
  const auto swap = SwapFile::create({directory.path(), "db-1", 1 * MiB, true});
  ASSERT_FALSE(swap);
  EXPECT_EQ(swap.error().code, std::errc::no_space_on_device);
  EXPECT_THAT(swap.error().operation, HasSubstr(directory.path()));
  EXPECT_THAT(directory.entries(), IsEmpty());
}

}  // namespace
}  // namespace vmm::reclaim
