// Swap files in directories that a real kernel makes bad: a file system that is full, and one that is read-only.
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reclaim/swap_file.h"
#include "support/temp_directory.h"
#include "vmm/units.h"

namespace vmm::reclaim {
namespace {

using testing::HasSubstr;

constexpr char kCannotMount[] = "cannot mount";

// Runs `body` in a child whose `directory` is a tmpfs of its own, and returns what it returns.
std::string on_own_tmpfs(const std::string& directory, const char* options, unsigned long flags,
                         const std::function<std::string()>& body) {
  int ends[2];
  if (::pipe(ends) != 0) return "pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    std::string text;
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", directory.c_str(), "tmpfs", flags, options) != 0) {
      text = std::string(kCannotMount) + ": " + std::strerror(errno);
    } else {
      text = body();
    }
    const auto written = ::write(ends[1], text.data(), text.size());
    ::_exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[512];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = -1;
  if (::waitpid(child, &status, 0) != child || status != 0) text += " (child failed)";
  return text;
}

// "<errno> <message>; <entries in the directory>"
std::string outcome(const test::TempDirectory& directory, std::uint64_t bytes, bool persist) {
  const auto swap = SwapFile::create({directory.path(), "db-1", bytes, persist});
  const std::string result = swap ? "made" : std::to_string(swap.error().code.value()) + " " + swap.error().message();
  return result + "; " + std::to_string(directory.entries().size());
}

TEST(SwapDirectoryTest, AFullFileSystemIsRefusedAndKeepsNothing) {
  const test::TempDirectory directory;
  for (const bool persist : {false, true}) {
    const auto text = on_own_tmpfs(directory.path(), "size=1m", 0, [&] {
      return outcome(directory, 8 * MiB, persist) + "|" + outcome(directory, 512 * KiB, false);
    });
    if (text.starts_with(kCannotMount)) GTEST_SKIP() << text << ": mounting needs CAP_SYS_ADMIN";
    EXPECT_THAT(text, HasSubstr(std::to_string(ENOSPC) + " swap_directory = " + directory.path()));
    EXPECT_THAT(text, HasSubstr(std::to_string(8 * MiB) + " bytes needed, " + std::to_string(1 * MiB) + " bytes free"));
    EXPECT_THAT(text, HasSubstr("name another swap_directory"));
    // Afterwards all the space is there again.
    EXPECT_THAT(text, HasSubstr("; 0|made; 0"));
  }
}

TEST(SwapDirectoryTest, AReadOnlyFileSystemIsRefused) {
  const test::TempDirectory directory;
  for (const bool persist : {false, true}) {
    const auto text =
        on_own_tmpfs(directory.path(), "", MS_RDONLY, [&] { return outcome(directory, 1 * MiB, persist); });
    if (text.starts_with(kCannotMount)) GTEST_SKIP() << text << ": mounting needs CAP_SYS_ADMIN";
    EXPECT_THAT(text, HasSubstr(std::to_string(EROFS) + " swap_directory = " + directory.path()));
    EXPECT_THAT(text, HasSubstr("mount the file system writable"));
    EXPECT_THAT(text, HasSubstr("; 0"));
  }
}

}  // namespace
}  // namespace vmm::reclaim
