#include "os/file.h"

#include <fcntl.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "support/fault_injector.h"
#include "support/process_state.h"
#include "support/temp_directory.h"
#include "vmm/units.h"

namespace vmm::os {
namespace {

using test::NthCallFails;

FileDescriptor open_null() { return FileDescriptor(::open("/dev/null", O_RDWR | O_CLOEXEC)); }

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(FileDescriptorTest, ClosesWhatItOwnsOnce) {
  const auto before = test::open_descriptors();
  {
    FileDescriptor a = open_null();
    ASSERT_TRUE(a.valid());
    const int fd = a.get();
    FileDescriptor b = std::move(a);
    EXPECT_FALSE(a.valid());  // NOLINT(bugprone-use-after-move): the moved-from state is part of the contract
    EXPECT_EQ(b.get(), fd);
    b = open_null();
    EXPECT_NE(b.get(), fd);
    EXPECT_FALSE(is_open(fd));
    FileDescriptor& same = b;
    b = std::move(same);
    EXPECT_TRUE(is_open(b.get()));
    FileDescriptor c(b.release());
    EXPECT_FALSE(b.valid());
    c.reset();
    EXPECT_FALSE(c.valid());
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST(FileDescriptorTest, IsClosedAlthoughCloseReportsAnErrorAndKeepsErrno) {
  const auto before = test::open_descriptors();
  {
    FileDescriptor file = open_null();
    const NthCallFails injected(Call::close, 1, EIO);
    errno = ENOSPC;
    file.reset();
    EXPECT_EQ(errno, ENOSPC);
    EXPECT_EQ(injected.failed(), 1U);
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST(ReadSmallFileTest, ReadsAllOfAFileLongerThanOneRead) {
  const test::TempDirectory directory;
  std::string text;
  for (int i = 0; i < 5000; ++i) text += std::to_string(i) + "\n";
  std::ofstream(directory.file("long")) << text;
  std::ofstream(directory.file("empty"));
  EXPECT_EQ(read_small_file(directory.file("long")).value(), text);
  EXPECT_EQ(read_small_file(directory.file("empty")).value(), "");
  EXPECT_NE(read_small_file("/proc/self/status").value().find("VmRSS"), std::string::npos);
}

TEST(ReadSmallFileTest, StopsAtItsLimit) { EXPECT_EQ(read_small_file("/dev/zero").value().size(), MiB); }

TEST(ReadSmallFileTest, ErrorsNameThePath) {
  const auto missing = read_small_file("/proc/self/no-such-file");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, std::errc::no_such_file_or_directory);
  EXPECT_NE(missing.error().operation.find("/proc/self/no-such-file"), std::string::npos);
  const auto before = test::open_descriptors();
  for (const std::uint64_t nth : {1U, 2U}) {
    const NthCallFails injected(Call::read_file, nth, EIO);
    EXPECT_EQ(read_small_file("/proc/self/status").error().code, std::errc::io_error) << nth;
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST(AvailableBytesTest, IsPositiveOnAFileSystemWithRoomAndNamesAMissingDirectory) {
  const test::TempDirectory directory;
  EXPECT_GT(available_bytes(directory.path()).value(), 0U);
  const auto missing = available_bytes(directory.file("none"));
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().operation.find(directory.file("none")), std::string::npos);
  const NthCallFails injected(Call::statvfs, 1, EIO);
  EXPECT_EQ(available_bytes(directory.path()).error().code, std::errc::io_error);
}

}  // namespace
}  // namespace vmm::os
