#include "find_hosts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmmctl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(FindHostsTest, HostsAreListeningStreamSocketsWithTheEnding) {
  EXPECT_THAT(host_sockets("Num       RefCount Protocol Flags    Type St Inode Path\n"
                           "0000000000000000: 00000002 00000000 00010000 0001 01 100 /run/b.vmm\n"
                           "0000000000000000: 00000002 00000000 00010000 0001 01 101 /run/a b.vmm\n"
                           "0000000000000000: 00000002 00000000 00010000 0001 01 101 /run/a b.vmm\n"
                           "0000000000000000: 00000003 00000000 00000000 0001 03 102 /run/connected.vmm\n"
                           "0000000000000000: 00000002 00000000 00010000 0005 01 103 /run/packets.vmm\n"
                           "0000000000000000: 00000002 00000000 00010000 0001 01 104 @abstract.vmm\n"
                           "0000000000000000: 00000002 00000000 00010000 0001 01 105 /run/other.sock\n"
                           "0000000000000000: 00000003 00000000 00000000 0002 01 106\n"
                           "0000000000000000: 00000002"),
              ElementsAre("/run/a b.vmm", "/run/b.vmm"));
  EXPECT_TRUE(host_sockets("").empty());
}

// As the kernel lists them, a part at a time: now this one is left out, now that one.
TEST(FindHostsTest, WhatOneLookLeavesOutTheNextOnesFind) {
  const std::string a = "0: 00000002 00000000 00010000 0001 01 100 /a.vmm\n";
  const std::string b = "0: 00000002 00000000 00010000 0001 01 101 /b.vmm\n";
  const std::string c = "0: 00000002 00000000 00010000 0001 01 102 /c.vmm\n";
  std::vector<std::string> looks = {c + b, b, a + b, a, a};
  const auto next = [&] {
    const auto text = looks.back();
    looks.pop_back();
    return text;
  };
  EXPECT_THAT(all_host_sockets(next), ElementsAre("/a.vmm"));
  EXPECT_THAT(all_host_sockets(next), ElementsAre("/a.vmm", "/b.vmm"));
  EXPECT_EQ(looks.size(), 1u) << "a look that told nothing new was the last";
  int endless = 0;
  EXPECT_EQ(all_host_sockets([&] {
              return "0: 00000002 00000000 00010000 0001 01 1 /" + std::to_string(++endless) + ".vmm\n";
            }).size(),
            10u);
}

FoundHost asked(const char* socket, std::int64_t pid) { return {socket, HostInfo{"0.1.0", pid, 0, false}}; }
FoundHost denied(const char* socket) { return {socket, fail(FailureKind::denied, "not permitted")}; }
FoundHost silent(const char* socket) { return {socket, fail(FailureKind::slow, "no answer")}; }

TEST(FindHostsTest, TheOnlyHostIsMeantWhenNoneIsNamed) {
  EXPECT_EQ(choose_socket("", {asked("/a.vmm", 1)}).value(), "/a.vmm");
  EXPECT_EQ(choose_socket("", {asked("/a.vmm", 1), denied("/b.vmm")}).value(), "/a.vmm");
}

TEST(FindHostsTest, OfSeveralTheProcessChooses) {
  EXPECT_EQ(choose_socket("20", {asked("/a.vmm", 1), asked("/b.vmm", 20)}).value(), "/b.vmm");
}

TEST(FindHostsTest, WhyNoneIsMeantIsSaid) {
  struct Case {
    const char* given;
    std::vector<FoundHost> hosts;
    const char* says;
  };
  for (const Case& c : {
           Case{"", {}, "HostOptions::stats_socket"},
           Case{"", {denied("/b.vmm")}, "/b.vmm  not permitted"},
           Case{"", {asked("/a.vmm", 1), asked("/b.vmm", 2)}, "/a.vmm  process 1, libvmm 0.1.0\n  /b.vmm"},
           Case{"", {asked("/a.vmm", 1), silent("/b.vmm")}, "/a.vmm  process 1, libvmm 0.1.0\n  /b.vmm  no answer"},
           Case{"", {silent("/b.vmm")}, "/b.vmm  no answer"},
           Case{"7", {asked("/a.vmm", 1)}, "process 7 serves no socket"},
           Case{"7", {asked("/a.vmm", 1), silent("/b.vmm")}, "these have not:\n  /b.vmm  no answer"},
           Case{"1", {asked("/a.vmm", 1), asked("/b.vmm", 1)}, "has several hosts"},
       }) {
    const auto chosen = choose_socket(c.given, c.hosts);
    ASSERT_FALSE(chosen) << c.says;
    EXPECT_EQ(chosen.error().kind, FailureKind::usage);
    EXPECT_THAT(chosen.error().message(), HasSubstr(c.says));
  }
}

}  // namespace
}  // namespace vmmctl
