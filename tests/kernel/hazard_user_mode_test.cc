// Hazard 33: without privileges userfaultfd serves user-mode faults only. probe() says so with its consequence, guests
// work, and pin makes buffers safe for system calls.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include <gtest/gtest.h>

#include "support/child.h"
#include "support/page_oracle.h"
#include "support/temp_directory.h"
#include "vmm/vmm.h"

namespace vmm::test {
namespace {

TEST(Hazard33_UserModeOnly, IsSaidAndPinnedBuffersAreSafe) {
  const TempDirectory directory;
  ASSERT_EQ(::chmod(directory.path().c_str(), 0777), 0);
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0))
      return findings.skip("cannot become another user");
    ::prctl(PR_SET_DUMPABLE, 1);
    const auto caps = probe(directory.path());
    if (caps.level == CapabilityLevel::none) return findings.skip("probe(): no userfaultfd at all for this user");
    if (caps.level != CapabilityLevel::user_mode) return findings.skip("this user may have kernel-mode faults served");
    const auto* item = caps.find("userfaultfd");
    findings.check(item != nullptr && item->state == CapabilityState::limited,
                   "probe() does not say that it is limited");
    findings.check(item->consequence.find("EFAULT") != std::string::npos, "consequence: " + item->consequence);
    findings.check(item->consequence.find("pin") != std::string::npos, "consequence: " + item->consequence);
    findings.check(!item->remedy.empty(), "no remedy");

    HostOptions ho;
    ho.memory = 64 * MiB;
    ho.swap_directory = directory.path();
    ho.management = Management::at_creation;
    auto host = Host::create(ho);
    if (!findings.check(host, "Host::create")) return;
    findings.check_equal(host->stats()->capability_level, std::string("user_mode"), "level");
    GuestOptions go;
    go.name = "g";
    go.memory = 4 * MiB;
    auto guest = host->create_guest(go);
    if (!findings.check(guest, "create_guest")) return;
    PageOracle oracle(guest->memory(), 1);
    oracle.write(0, 512);
    findings.check(guest->reclaim(4 * MiB), "reclaim");
    findings.check(guest->stats()->swapped > 0, "nothing was swapped");

    const int zeros = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
    // A missing page: the kernel may not wait for us.
    auto* const missing = oracle.at(300);
    findings.check(::read(zeros, missing, kPageSize) < 0 && errno == EFAULT,
                   "read(2) into a missing page did not fail");
    // Pinned, it may: a swapped page, a page never touched, and those beside them.
    for (const std::uint64_t page : {std::uint64_t{200}, std::uint64_t{900}}) {
      auto pin = guest->pin(page * kPageSize, 16 * kPageSize);
      if (!findings.check(pin, "pin")) continue;
      findings.check_equal(oracle.check(page, page + 16).wrong, 0U, "wrong pages in the pinned range");
      const auto got = ::read(zeros, oracle.at(page), 16 * kPageSize);
      findings.check_equal(got, static_cast<ssize_t>(16 * kPageSize), "read(2) into a pinned buffer");
      oracle.expect_zeros(page, page + 16);
      findings.check(guest->reclaim(4 * MiB), "reclaim while pinned");
      findings.check_equal(oracle.check(page, page + 16).wrong, 0U, "wrong pages after the read");
    }
    ::close(zeros);
    findings.check_equal(oracle.check().wrong, 0U, "wrong pages at the end");
  }));
}

}  // namespace
}  // namespace vmm::test
