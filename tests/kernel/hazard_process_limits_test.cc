// Hazards 21, 22, 23: limits of the process and of the swap file's file system: an error that says so, or the next
// best way with the same results; never a signal.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "os/call.h"
#include "support/call_hook.h"
#include "support/child.h"
#include "support/fault_injector.h"
#include "support/mount.h"
#include "support/page_oracle.h"
#include "support/process_state.h"
#include "support/temp_directory.h"
#include "support/way.h"

namespace vmm::test {
namespace {

void set_limit(__rlimit_resource which, rlim_t most) {
  rlimit limit{};
  ::getrlimit(which, &limit);
  limit.rlim_cur = most;
  ::setrlimit(which, &limit);
}

// Fills, reclaims and reads back a guest of 4 MiB.
void live(Host& host, Findings& findings, const std::string& name = "g", bool expect_swap = true) {
  GuestOptions go;
  go.name = name;
  go.memory = 4 * MiB;
  auto guest = host.create_guest(go);
  if (!findings.check(guest, "create_guest")) return;
  PageOracle oracle(guest->memory(), 5);
  for (int round = 0; round < 2; ++round) {
    oracle.write(0, oracle.pages());
    findings.check(guest->reclaim(4 * MiB), "reclaim");
    const auto tally = oracle.check();
    findings.check_equal(tally.wrong + tally.lost, 0U, "wrong pages");
  }
  findings.check_equal(guest->stats()->swapped_out > 0, expect_swap, "pages were swapped out");
}

class Hazard21_Limits : public EachWay {};

TEST_P(Hazard21_Limits, FileSizeAtCreationIsAnError) {
  const TempDirectory directory;
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    ::signal(SIGXFSZ, SIG_DFL);
    set_limit(RLIMIT_FSIZE, 1 * MiB);
    auto host = Host::create(host_options(directory.path()));
    if (!findings.check(host, "Host::create")) return;
    const auto guest = host->create_guest(guest_options("large", 4 * MiB));
    if (!findings.check(!guest, "the guest was made")) return;
    findings.check(guest.error().code == std::errc::file_too_large, guest.error().message());
    findings.check(guest.error().remedy.find("RLIMIT_FSIZE") != std::string::npos, guest.error().message());
    // What fits goes on.
    GuestOptions small = guest_options("small", 4 * MiB);
    small.reservation = 3 * MiB;
    findings.check(host->create_guest(small), "a guest whose file fits");
  }));
  EXPECT_TRUE(directory.entries().empty());
}

// Writes past the limit fail from now on: pages stay in memory, and nothing is lost.
TEST_P(Hazard21_Limits, FileSizeLoweredLaterLosesNothing) {
  const TempDirectory directory;
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    ::signal(SIGXFSZ, SIG_DFL);
    auto host = Host::create(host_options(directory.path()));
    if (!findings.check(host, "Host::create")) return;
    auto guest = host->create_guest(guest_options("g", 4 * MiB));
    if (!findings.check(guest, "create_guest")) return;
    PageOracle oracle(guest->memory(), 5);
    oracle.write(0, oracle.pages());
    set_limit(RLIMIT_FSIZE, 64 * KiB);
    findings.check(guest->reclaim(4 * MiB), "reclaim");
    findings.check(guest->stats()->swap_failed, "writes past the limit did not fail");
    findings.check(guest->stats()->resident > 0, "pages left memory without a write");
    const auto tally = oracle.check();
    findings.check_equal(tally.wrong + tally.lost, 0U, "wrong pages");
  }));
}

TEST_P(Hazard21_Limits, NoLockedMemoryIsNeeded) {
  const TempDirectory directory;
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    set_limit(RLIMIT_MEMLOCK, 0);
    auto host = Host::create(host_options(directory.path()));
    if (findings.check(host, "Host::create")) live(*host, findings);
  }));
}

// With few descriptors: an error with its remedy, at whichever descriptor it is, and none left open.
TEST_P(Hazard21_Limits, FewDescriptors) {
  const TempDirectory directory;
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    const auto before = open_descriptors();
    bool worked = false;
    for (rlim_t most = before + 2; !worked && most < before + 64; ++most) {
      set_limit(RLIMIT_NOFILE, most);
      {
        auto host = Host::create(host_options(directory.path()));
        if (host) {
          auto guest = host->create_guest(guest_options("g", 1 * MiB));
          worked = guest.has_value();
          if (!worked) findings.check(!guest.error().operation.empty(), "an error that says nothing");
        } else {
          findings.check(!host.error().operation.empty() && !host.error().remedy.empty(), host.error().message());
        }
      }
      set_limit(RLIMIT_NOFILE, 1024);
      findings.check_equal(open_descriptors(), before, "descriptors after " + std::to_string(most));
    }
    findings.check(worked, "a host and a guest need more than 64 descriptors");
  }));
}

class Hazard22_FullFileSystem : public EachWay {};

TEST_P(Hazard22_FullFileSystem, GuestIsRefusedAndNothingIsLeft) {
  const TempDirectory directory;
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    if (const auto why = mount_own_tmpfs(directory.path(), "size=2m"); !why.empty()) return findings.skip(why);
    const auto before = open_descriptors();
    {
      auto host = Host::create(host_options(directory.path()));
      if (!findings.check(host, "Host::create")) return;
      for (int i = 0; i < 3; ++i) {
        const auto guest = host->create_guest(guest_options("large", 16 * MiB));
        if (!findings.check(!guest, "the guest was made")) return;
        findings.check(guest.error().code == std::errc::no_space_on_device, guest.error().message());
        findings.check(guest.error().operation.find("16777216") != std::string::npos, guest.error().message());
        findings.check(guest.error().operation.find(directory.path()) != std::string::npos, guest.error().message());
        findings.check(guest.error().remedy.find("space") != std::string::npos, guest.error().message());
      }
      findings.check_equal(host->stats()->guests.size(), 0U, "guests of the host");
      // All the space is free again: a guest that just fits is made.
      findings.check(host->create_guest(guest_options("fits", 2 * MiB - 64 * KiB)), "a guest that fits");
    }
    findings.check_equal(directory.entries().size(), 0U, "files left");
    findings.check_equal(open_descriptors(), before, "descriptors left");
  }));
}

class Hazard23_LesserIo : public EachWay {};

TEST_P(Hazard23_LesserIo, WithoutDirectIo) {
  const TempDirectory directory;
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    // tmpfs of Linux 6.6 and newer takes O_DIRECT: there the flag is made to fail instead.
    if (const auto why = mount_own_tmpfs(directory.path(), "size=64m"); !why.empty()) return findings.skip(why);
    auto host = Host::create(host_options(directory.path()));
    if (findings.check(host, "Host::create")) live(*host, findings);
  }));
  // pwrite is only made directly to try O_DIRECT: its failure there is that of a file system which refuses it.
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    auto host = Host::create(host_options(directory.path()));
    if (!findings.check(host, "Host::create")) return;
    GuestOptions go = guest_options("buffered", 4 * MiB);
    Result<Guest> guest;
    {
      CallHook refused;
      refused.fail(os::Call::pwrite, EINVAL, 1);
      guest = host->create_guest(go);
      findings.check(refused.count(os::Call::pwrite) > 0, "O_DIRECT was not tried");
    }
    if (!findings.check(guest, "create_guest")) return;
    bool direct = false;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      if (std::filesystem::read_symlink(entry.path(), gone).string().rfind(directory.path(), 0) == 0)
        direct |= (::fcntl(std::stoi(entry.path().filename()), F_GETFL) & O_DIRECT) != 0;
    }
    findings.check(!direct, "the swap file is still open with O_DIRECT");
    PageOracle oracle(guest->memory(), 5);
    oracle.write(0, oracle.pages());
    findings.check(guest->reclaim(4 * MiB), "reclaim");
    findings.check(guest->stats()->swapped_out > 0, "nothing was swapped out");
    findings.check_equal(oracle.check().wrong, 0U, "wrong pages");
  }));
}

TEST_P(Hazard23_LesserIo, WithoutIoUring) {
  const TempDirectory directory;
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    auto options = host_options(directory.path());
    options.swap_io = SwapIo::automatic;
    {
      const NthCallFails forbidden(os::Call::uring_setup, 1, EPERM, NthCallFails::Repeat::forever);
      auto host = Host::create(options);
      if (!findings.check(host, "Host::create")) return;
      findings.check_equal(host->stats()->swap_io, std::string("threads"), "swap I/O");
      live(*host, findings);
    }
    {
      const NthCallFails forbidden(os::Call::uring_setup, 1, EPERM, NthCallFails::Repeat::forever);
      options.swap_io = SwapIo::io_uring;
      const auto host = Host::create(options);
      if (!findings.check(!host, "io_uring was asked for and is not there")) return;
      findings.check(host.error().code == Errc::not_supported, host.error().message());
    }
  }));
}

VMM_EACH_WAY(Hazard21_Limits);
VMM_EACH_WAY(Hazard22_FullFileSystem);
VMM_EACH_WAY(Hazard23_LesserIo);

}  // namespace
}  // namespace vmm::test
