// Hazard 34: a process that userfaultfd is denied to, as container profiles do. What cannot be had without it is
// refused with what is missing and how to allow it, in C++ and in C; the rest works.
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/child.h"
#include "support/deny_userfaultfd.h"
#include "support/page_oracle.h"
#include "support/temp_directory.h"
#include "vmm/c.h"
#include "vmm/vmm.h"

namespace vmm::test {
namespace {

constexpr std::uint64_t kBudget = 64 * MiB;

class Hazard34_Denied : public testing::TestWithParam<int> {
 protected:
  // In a process without userfaultfd.
  ChildEnd denied(const std::function<void(Findings&)>& body) {
    return in_child([&](Findings& findings) {
      if (const int e = deny_userfaultfd(static_cast<unsigned short>(GetParam())))
        return findings.skip("no seccomp filter can be set here: errno " + std::to_string(e));
      body(findings);
    });
  }
  HostOptions options() const {
    HostOptions o;
    o.memory = kBudget;
    o.swap_directory = directory_.path();
    return o;
  }
  static GuestOptions guest_of(std::uint64_t memory) {
    GuestOptions o;
    o.name = "g";
    o.memory = memory;
    return o;
  }
  const TempDirectory directory_;
};

// What is missing: each way and its errno, the filter; what helps: the device or the filter.
void check_text(Findings& findings, const std::string& text, const std::string& operation) {
  const bool device = ::access("/dev/userfaultfd", R_OK | W_OK) == 0;
  const std::vector<std::string> parts{operation,
                                       "userfaultfd is missing",
                                       "system call: ",
                                       "/dev/userfaultfd",
                                       device ? "USERFAULTFD_IOC_NEW" : "--device /dev/userfaultfd",
                                       "seccomp filter",
                                       "SystemCallFilter=userfaultfd"};
  for (const auto& part : parts)
    findings.check(text.find(part) != std::string::npos, "\"" + part + "\" is not in: " + text);
}

TEST_P(Hazard34_Denied, ProbeNamesTheFilterAndTheRemedy) {
  VMM_EXPECT_CHILD(denied([&](Findings& findings) {
    const auto caps = probe(directory_.path());
    findings.check(caps.level == CapabilityLevel::none, "level");
    const auto* item = caps.find("userfaultfd");
    if (!findings.check(item != nullptr && item->state == CapabilityState::missing, "state")) return;
    check_text(findings, "userfaultfd is missing: " + item->detail + item->remedy, "");
    const std::string number = GetParam() == EPERM ? "Operation not permitted" : "Function not implemented";
    findings.check(item->detail.find("user mode only: " + number) != std::string::npos, item->detail);
    findings.check(item->detail.find("runs under a seccomp filter") != std::string::npos, item->detail);
    // A kernel with CONFIG_USERFAULTFD is no remedy: it has it.
    findings.check(item->remedy.find("CONFIG_USERFAULTFD") == std::string::npos, item->remedy);
  }));
}

TEST_P(Hazard34_Denied, WhatNeedsItIsRefusedWithTheRemedy) {
  VMM_EXPECT_CHILD(denied([&](Findings& findings) {
    const auto refused = [&](const auto& result, Errc code, const std::string& operation) {
      if (!findings.check(!result.has_value(), operation + " was accepted")) return;
      findings.check(result.error().code == make_error_code(code), operation + ": " + result.error().code.message());
      check_text(findings, result.error().message(), operation);
    };
    auto forced = options();
    forced.management = Management::at_creation;
    refused(Host::create(forced), Errc::not_supported, "HostOptions::management = at_creation");
    for (const auto& [isolation, name] :
         {std::pair(Isolation::move, "move"), std::pair(Isolation::write_protect, "write_protect")}) {
      forced = options();
      forced.isolation = isolation;
      refused(Host::create(forced), Errc::not_supported, std::string("HostOptions::isolation = ") + name);
    }

    auto host = Host::create(options());
    if (!findings.check(host, "Host::create")) return;
    findings.check_equal(host->stats()->capability_level, std::string("none"), "level");
    refused(host->create_guest(guest_of(2 * kBudget)), Errc::admission_refused, "GuestOptions::memory = 134217728");
    auto limited = guest_of(8 * MiB);
    limited.limit = 4 * MiB;
    refused(host->create_guest(limited), Errc::not_supported, "GuestOptions::limit = 4194304");
    PoolOptions pool;
    pool.limit = 4 * MiB;
    refused(host->create_pool("/p", pool), Errc::not_supported, "PoolOptions::limit = 4194304");
    findings.check(host->create_pool("/q", PoolOptions{}), "create_pool");
    refused(host->configure_pool("/q", PoolChange{.limit = 4 * MiB}), Errc::not_supported,
            "PoolChange::limit = 4194304");

    // What fits is native memory, and works.
    auto guest = host->create_guest(guest_of(8 * MiB));
    if (!findings.check(guest, "create_guest")) return;
    PageOracle oracle(guest->memory(), 1);
    oracle.write(0, oracle.pages());
    findings.check(guest->discard(0, 1 * MiB), "discard");
    oracle.expect_zeros(0, 256);
    findings.check(guest->pin(1 * MiB, 1 * MiB), "pin");
    findings.check_equal(oracle.check().wrong, 0U, "wrong pages");
    refused(guest->reclaim(1 * MiB), Errc::not_supported, "managing guest \"g\"");
    refused(guest->configure(GuestChange{.limit = 4 * MiB}), Errc::not_supported, "managing guest \"g\"");
    findings.check_equal(guest->stats()->limit, std::uint64_t{0}, "the limit after a refusal");
    findings.check(guest->configure(GuestChange{.shares = Shares::high()}), "configure");
    // A second one is too much for what is left, though each would fit alone.
    auto second = guest_of(60 * MiB);
    second.name = "second";
    refused(host->create_guest(second), Errc::admission_refused, "GuestOptions::memory = 62914560");
  }));
}

TEST_P(Hazard34_Denied, InCToo) {
  VMM_EXPECT_CHILD(denied([&](Findings& findings) {
    vmm_host_options o;
    vmm_host_options_init(&o, sizeof o);
    o.memory = kBudget;
    const std::string directory = directory_.path();
    o.swap_directory = directory.c_str();
    o.management = VMM_MANAGEMENT_AT_CREATION;
    vmm_host* host = nullptr;
    findings.check_equal(vmm_host_create(&o, &host), -VMM_ERR_NOT_SUPPORTED, "vmm_host_create at_creation");
    check_text(findings, vmm_last_error(), "HostOptions::management = at_creation");
    o.management = VMM_MANAGEMENT_AUTOMATIC;
    findings.check_equal(vmm_host_create(&o, &host), 0, "vmm_host_create");
    if (host == nullptr) return;

    vmm_guest_options g;
    vmm_guest_options_init(&g, sizeof g);
    g.name = "g";
    g.memory = 2 * kBudget;
    vmm_guest* guest = nullptr;
    findings.check_equal(vmm_guest_create(host, &g, &guest), -VMM_ERR_ADMISSION_REFUSED, "vmm_guest_create");
    check_text(findings, vmm_last_error(), "GuestOptions::memory = 134217728");
    g.memory = 8 * MiB;
    findings.check_equal(vmm_guest_create(host, &g, &guest), 0, "vmm_guest_create");
    findings.check_equal(vmm_guest_reclaim(guest, MiB, nullptr), -VMM_ERR_NOT_SUPPORTED, "vmm_guest_reclaim");
    check_text(findings, vmm_last_error(), "managing guest \"g\"");

    vmm_capabilities* caps = nullptr;
    findings.check_equal(vmm_host_capabilities(host, &caps), 0, "vmm_host_capabilities");
    findings.check_equal(vmm_capabilities_level(caps), static_cast<int>(VMM_LEVEL_NONE), "level");
    vmm_capabilities_free(caps);
    vmm_guest_destroy(guest);
    vmm_host_destroy(host);
  }));
}

INSTANTIATE_TEST_SUITE_P(Errno, Hazard34_Denied, testing::Values(EPERM, ENOSYS),
                         [](const auto& error) { return error.param == EPERM ? "EPERM" : "ENOSYS"; });

}  // namespace
}  // namespace vmm::test
