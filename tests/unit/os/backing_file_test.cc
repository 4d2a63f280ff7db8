#include "os/backing_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/mapping.h"
#include "support/fault_injector.h"
#include "support/process_state.h"
#include "support/temp_directory.h"
#include "vmm/units.h"

namespace vmm::os {
namespace {

using test::NthCallFails;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t kBytes = 3 * MiB;

class BackingFileTest : public testing::Test {
 protected:
  BackingFileRequest request(bool persist = false) const { return {directory_.path(), "db-1", kBytes, persist}; }

  static struct stat status(const BackingFile& backing) {
    struct stat s {};
    EXPECT_EQ(::fstat(backing.file.get(), &s), 0);
    return s;
  }

  static bool has_direct_flag(const BackingFile& backing) {
    return (::fcntl(backing.file.get(), F_GETFL) & O_DIRECT) != 0;
  }

  // Whole, private, with its space, and good for reads and writes of pages anywhere in it.
  static void expect_usable(const BackingFile& backing) {
    const auto s = status(backing);
    EXPECT_EQ(s.st_size, static_cast<off_t>(kBytes));
    EXPECT_GE(static_cast<std::uint64_t>(s.st_blocks) * 512, kBytes);
    EXPECT_EQ(s.st_mode & 0777, 0600U);
    EXPECT_EQ(::fcntl(backing.file.get(), F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(has_direct_flag(backing), backing.direct_io);
    const auto page = Mapping::anonymous(kPageSize).value();
    for (const std::uint64_t offset : {std::uint64_t{0}, kPageSize, kBytes - kPageSize}) {
      const auto at = static_cast<off_t>(offset);
      EXPECT_EQ(::pwrite(backing.file.get(), page.data(), kPageSize, at), static_cast<ssize_t>(kPageSize));
      EXPECT_EQ(::pread(backing.file.get(), page.data(), kPageSize, at), static_cast<ssize_t>(kPageSize));
    }
  }

  test::TempDirectory directory_;
};

// Hazard 35: nothing to find in the directory, for nobody and at no time.
TEST_F(BackingFileTest, HasNoNameUnlessAskedFor) {
  const auto before = test::open_descriptors();
  {
    const auto backing = open_backing_file(request());
    ASSERT_TRUE(backing) << backing.error().message();
    expect_usable(*backing);
    EXPECT_EQ(backing->path, "");
    EXPECT_EQ(status(*backing).st_nlink, 0U);
    EXPECT_THAT(directory_.entries(), IsEmpty());
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST_F(BackingFileTest, WithoutTmpfileItIsUnlinkedAtOnce) {
  for (const int error : {EOPNOTSUPP, EISDIR, EINVAL}) {
    const NthCallFails injected(Call::open, 1, error);
    const auto backing = open_backing_file(request());
    ASSERT_TRUE(backing) << backing.error().message();
    expect_usable(*backing);
    EXPECT_EQ(status(*backing).st_nlink, 0U);
    EXPECT_THAT(directory_.entries(), IsEmpty());
  }
}

TEST_F(BackingFileTest, PersistKeepsItUnderASafeName) {
  auto wanted = request(true);
  wanted.name = "../db 1/ä";
  {
    const auto backing = open_backing_file(wanted);
    ASSERT_TRUE(backing) << backing.error().message();
    expect_usable(*backing);
    const std::string name = "_._db_1___." + std::to_string(::getpid()) + ".vswp";
    EXPECT_EQ(backing->path, directory_.file(name));
    EXPECT_THAT(directory_.entries(), ElementsAre(name));
  }
  EXPECT_EQ(directory_.entries().size(), 1U);
  const auto again = open_backing_file(wanted);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, std::errc::file_exists);
  EXPECT_EQ(directory_.entries().size(), 1U);
}

TEST_F(BackingFileTest, NamesOfAnyLengthAreSafe) {
  for (const std::string& name : {std::string(), std::string(1000, 'n'), std::string("."), std::string("a\0b", 3)}) {
    auto wanted = request(true);
    wanted.name = name;
    const auto backing = open_backing_file(wanted);
    ASSERT_TRUE(backing) << backing.error().message();
  }
  EXPECT_EQ(directory_.entries().size(), 4U);
}

TEST_F(BackingFileTest, DirectIoFallsBackToBufferedWhereATrialFails) {
  const auto first = open_backing_file(request());
  ASSERT_TRUE(first);
  if (!first->direct_io) GTEST_SKIP() << "no O_DIRECT in " << directory_.path();
  struct Case {
    Call call;
    std::uint64_t nth;
  };
  // The second open is the change of the descriptor's flags.
  for (const Case& c : {Case{Call::open, 2}, Case{Call::pwrite, 1}, Case{Call::pread, 1}}) {
    const NthCallFails injected(c.call, c.nth, EINVAL);
    const auto backing = open_backing_file(request());
    ASSERT_TRUE(backing) << backing.error().message();
    EXPECT_EQ(injected.failed(), 1U);
    EXPECT_FALSE(backing->direct_io);
    expect_usable(*backing);
  }
}

TEST_F(BackingFileTest, WithoutFallocateZerosAreWritten) {
  const NthCallFails injected(Call::fallocate, 1, EOPNOTSUPP);
  const auto backing = open_backing_file(request());
  ASSERT_TRUE(backing) << backing.error().message();
  expect_usable(*backing);
}

// Hazard 22: no space is found out at creation, and the file is gone again.
TEST_F(BackingFileTest, NoSpaceIsRefusedWithDirectorySizeAndRemedy) {
  struct Case {
    Call call;
    std::uint64_t nth;
    int error;
  };
  for (const bool persist : {false, true}) {
    for (const Case& c : {Case{Call::fallocate, 1, ENOSPC}, Case{Call::fallocate, 1, EDQUOT}}) {
      const NthCallFails injected(c.call, c.nth, c.error);
      const auto backing = open_backing_file(request(persist));
      ASSERT_FALSE(backing);
      EXPECT_EQ(backing.error().code.value(), c.error);
      EXPECT_THAT(backing.error().operation, HasSubstr("swap_directory = " + directory_.path()));
      EXPECT_THAT(backing.error().operation, HasSubstr(std::to_string(kBytes) + " bytes needed"));
      EXPECT_THAT(backing.error().operation, HasSubstr("bytes free"));
      EXPECT_THAT(backing.error().operation, HasSubstr("db-1"));
      EXPECT_THAT(backing.error().remedy, HasSubstr("free space there"));
      EXPECT_THAT(directory_.entries(), IsEmpty());
    }
  }
}

TEST_F(BackingFileTest, BadDirectoriesAreNamedWithTheRemedy) {
  std::ofstream(directory_.file("plain"));
  struct Case {
    std::string directory;
    int error;
    std::string remedy;
  };
  for (const bool persist : {false, true}) {
    for (const Case& c : {Case{directory_.file("none"), ENOENT, "make the directory"},
                          Case{directory_.file("plain"), ENOTDIR, "name a directory"}}) {
      auto wanted = request(persist);
      wanted.directory = c.directory;
      const auto backing = open_backing_file(wanted);
      ASSERT_FALSE(backing);
      EXPECT_EQ(backing.error().code.value(), c.error) << backing.error().message();
      EXPECT_THAT(backing.error().operation, HasSubstr(c.directory));
      EXPECT_THAT(backing.error().remedy, HasSubstr(c.remedy));
    }
  }
}

TEST_F(BackingFileTest, BadSizesAndAnEmptyDirectoryAreRefused) {
  for (const std::uint64_t bytes : {std::uint64_t{0}, kPageSize - 1, kPageSize + 512, ~std::uint64_t{0} - 4095}) {
    auto wanted = request();
    wanted.bytes = bytes;
    const auto backing = open_backing_file(wanted);
    ASSERT_FALSE(backing);
    EXPECT_EQ(backing.error().code, std::errc::invalid_argument);
    EXPECT_THAT(backing.error().operation, HasSubstr(std::to_string(bytes)));
  }
  auto wanted = request();
  wanted.directory.clear();
  EXPECT_EQ(open_backing_file(wanted).error().code, std::errc::invalid_argument);
}

class FileSizeLimitTest : public BackingFileTest {
 protected:
  void SetUp() override {
    ::sigemptyset(&size_signal_);
    ::sigaddset(&size_signal_, SIGXFSZ);
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit_), 0);
    const rlimit small{kBytes - kPageSize, limit_.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  }
  void TearDown() override { ::setrlimit(RLIMIT_FSIZE, &limit_); }

  static bool size_signal_pending() {
    sigset_t pending;
    ::sigpending(&pending);
    return ::sigismember(&pending, SIGXFSZ) == 1;
  }
  static bool size_signal_blocked() {
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return ::sigismember(&mask, SIGXFSZ) == 1;
  }
  void expect_refused() {
    const auto backing = open_backing_file(request(true));
    ASSERT_FALSE(backing);
    EXPECT_EQ(backing.error().code, std::errc::file_too_large);
    EXPECT_THAT(backing.error().remedy, HasSubstr("RLIMIT_FSIZE"));
    EXPECT_THAT(directory_.entries(), IsEmpty());
  }

  sigset_t size_signal_{};
  rlimit limit_{};
};

// Hazard 21: SIGXFSZ would end the process here.
TEST_F(FileSizeLimitTest, IsAnErrorAndNoSignal) {
  expect_refused();
  EXPECT_FALSE(size_signal_pending());
  EXPECT_FALSE(size_signal_blocked());
  // The same when zeros are written for want of fallocate.
  const NthCallFails injected(Call::fallocate, 1, EOPNOTSUPP);
  expect_refused();
  EXPECT_FALSE(size_signal_pending());
  EXPECT_FALSE(size_signal_blocked());
}

TEST_F(FileSizeLimitTest, ASignalThatTheApplicationHoldsBackStaysForIt) {
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &size_signal_, nullptr), 0);
  expect_refused();
  EXPECT_FALSE(size_signal_pending());
  EXPECT_TRUE(size_signal_blocked());
  ASSERT_EQ(::pthread_kill(::pthread_self(), SIGXFSZ), 0);
  expect_refused();
  EXPECT_TRUE(size_signal_pending());
  const timespec now{0, 0};
  EXPECT_EQ(::sigtimedwait(&size_signal_, nullptr, &now), SIGXFSZ);
  ASSERT_EQ(::pthread_sigmask(SIG_UNBLOCK, &size_signal_, nullptr), 0);
}

// Hazard 28 for this part: whichever call fails, once or for good, there is a file or an error, and no remains.
TEST_F(BackingFileTest, EveryCallFailingInTurnLeavesNothingBehind) {
  const auto descriptors = test::open_descriptors();
  for (const auto repeat : {NthCallFails::Repeat::once, NthCallFails::Repeat::forever}) {
    for (const Call kind :
         {Call::open, Call::fallocate, Call::pwrite, Call::pread, Call::statvfs, Call::mmap, Call::close}) {
      for (const int error : {EIO, ENOSPC, EINTR, EINVAL, EOPNOTSUPP, EMFILE}) {
        for (const bool persist : {false, true}) {
          std::uint64_t nth = 1;
          for (bool reached = true; reached && nth < 20; ++nth) {
            SCOPED_TRACE(std::string(to_string(kind)) + " #" + std::to_string(nth) + " errno " + std::to_string(error) +
                         (persist ? " persist" : ""));
            std::string path;
            {
              auto injected = std::make_unique<NthCallFails>(kind, nth, error, repeat);
              const auto backing = open_backing_file(request(persist));
              reached = injected->failed() > 0;
              injected.reset();
              if (backing) {
                expect_usable(*backing);
                path = backing->path;
              } else {
                EXPECT_FALSE(backing.error().operation.empty());
                EXPECT_FALSE(backing.error().remedy.empty());
              }
            }
            EXPECT_EQ(directory_.entries().size(), path.empty() ? 0U : 1U);
            EXPECT_TRUE(path.empty() || ::unlink(path.c_str()) == 0);
            ASSERT_EQ(test::open_descriptors(), descriptors);
            ASSERT_FALSE(HasFailure());
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace vmm::os
