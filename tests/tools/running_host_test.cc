// vmmctl and a real host: what it shows is what the host and the kernel say, and what it asks for is done.
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program.h"
#include "support/temp_directory.h"
#include "terminal.h"
#include "text.h"
#include "vmm/vmm.h"

namespace fake {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr std::uint64_t kGuest = 32 * vmm::MiB;

class RunningHostTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto caps = vmm::probe(); caps.level == vmm::CapabilityLevel::none)
      GTEST_SKIP() << "guests cannot be managed: " << to_string(caps.level);
  }
  // Guests "db-1" and "db-2" of which the first half is written, each page with another byte.
  void start(bool control) {
    vmm::HostOptions options;
    options.memory = 256 * vmm::MiB;
    options.swap_directory = directory_.path();
    options.management = vmm::Management::at_creation;
    options.scheduler = vmm::Scheduler::manual;  // nothing moves by itself
    options.share_scan_ghz = 4;
    options.share_scan_time = std::chrono::hours(24);
    options.stats_socket = directory_.file("running.vmm");
    options.stats_control = control;
    auto host = vmm::Host::create(options);
    ASSERT_TRUE(host) << host.error().message();
    host_ = std::make_unique<vmm::Host>(std::move(*host));
    for (int number = 1; number <= 2; ++number) {
      vmm::GuestOptions o;
      o.name = "db-" + std::to_string(number);
      o.memory = kGuest;
      o.large_pages = false;
      o.share_salt = "tests";
      auto guest = host_->create_guest(o);
      ASSERT_TRUE(guest) << guest.error().message();
      const auto memory = guest->memory();
      for (std::size_t at = 0; at < kGuest / 2; at += vmm::kPageSize)
        std::memset(memory.data() + at, static_cast<int>(1 + at / vmm::kPageSize % 255), vmm::kPageSize);
      guests_.push_back(std::move(*guest));
    }
  }
  // vmmctl with the socket named in the environment.
  Outcome ask(std::vector<std::string> arguments) const {
    return vmmctl(std::move(arguments), {"VMM_SOCKET=" + directory_.file("running.vmm")});
  }
  vmm::GuestStats stats(std::size_t guest) const { return guests_[guest].stats().value(); }
  // In memory, of the first guest.
  bool is_intact() const {
    const auto memory = guests_[0].memory();
    for (std::size_t at = 0; at < kGuest / 2; ++at)
      if (memory[at] != static_cast<std::byte>(1 + at / vmm::kPageSize % 255)) return false;
    return true;
  }

  const vmm::test::TempDirectory directory_;
  std::unique_ptr<vmm::Host> host_;
  std::vector<vmm::Guest> guests_;
};

TEST_F(RunningHostTest, TopShowsItsFigures) {
  if (!there_is("tmux")) GTEST_SKIP() << "tmux is not installed";
  ASSERT_NO_FATAL_FAILURE(start(false));
  ASSERT_TRUE(guests_[0].reclaim(4 * vmm::MiB));
  const auto host = host_->stats().value();
  const auto first = stats(0);
  EXPECT_GE(first.swapped, 4 * vmm::MiB);
  Terminal terminal(directory_.path(),
                    "LC_ALL=C.UTF-8 '" VMMCTL_PROGRAM "' top -d 0.1 '" + directory_.file("running.vmm") + "'", 200, 24);
  ASSERT_TRUE(terminal.shows("db-2"));
  const auto screen = terminal.screen();
  EXPECT_THAT(screen, HasSubstr("budget " + vmmctl::bytes_text(host.memory)));
  EXPECT_THAT(screen, HasSubstr("consumed " + vmmctl::bytes_text(host.consumed)));
  EXPECT_THAT(screen, HasSubstr("swapped " + vmmctl::bytes_text(host.swapped)));
  const auto row = screen.substr(screen.find("db-1"));
  EXPECT_THAT(row.substr(0, row.find('\n')), HasSubstr(vmmctl::bytes_text(first.memory)));
  EXPECT_THAT(row.substr(0, row.find('\n')), HasSubstr(vmmctl::bytes_text(first.granted)));
  EXPECT_THAT(row.substr(0, row.find('\n')), HasSubstr(vmmctl::bytes_text(first.swapped)));
}

TEST_F(RunningHostTest, ARecordHoldsItsFigures) {
  ASSERT_NO_FATAL_FAILURE(start(false));
  ASSERT_TRUE(guests_[1].reclaim(4 * vmm::MiB));
  const auto file = directory_.file("run.jsonl");
  const auto outcome = ask({"record", "-n", "2", "-d", "0.1", "-o", file});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto text = file_text(file);
  const auto line = json::parse(text.substr(0, text.find('\n')));
  const auto& told = line.at("stats");
  const auto host = host_->stats().value();
  EXPECT_EQ(told.at("consumed"), host.consumed);
  ASSERT_EQ(told.at("guests").size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(told.at("guests").at(i).at("resident"), stats(i).resident);
    EXPECT_EQ(told.at("guests").at(i).at("swapped"), stats(i).swapped);
  }
  EXPECT_THAT(line.at("events").dump(), HasSubstr("guest_created"));
  const auto page = directory_.file("run.html");
  const auto report = vmmctl({"report", file, "-o", page});
  ASSERT_EQ(report.status, 0) << report.err;
  EXPECT_THAT(file_text(page), HasSubstr("db-2"));
}

TEST_F(RunningHostTest, WhatIsAskedForIsDone) {
  ASSERT_NO_FATAL_FAILURE(start(true));
  auto outcome = ask({"reclaim", "db-1", "8M"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_GE(stats(0).swapped, 8 * vmm::MiB);
  outcome = ask({"restore", "db-1"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(stats(0).swapped, 0u);
  outcome = ask({"set", "db-1", "limit=24M", "shares=4000"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(stats(0).limit, 24 * vmm::MiB);
  EXPECT_EQ(stats(0).shares, 4000u);
  outcome = ask({"set", "idle_tax=0.5", "memory=300M"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(host_->stats()->memory, 300 * vmm::MiB);
  outcome = ask({"share", "--json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(json::parse(outcome.out).at("ok").get<bool>());
  if (vmm::probe().level == vmm::CapabilityLevel::full) {
    // Both hold the same, and what follows each 255 pages does again.
    EXPECT_GT(stats(1).shared_saved, kGuest / 8);
  }
  EXPECT_TRUE(is_intact());
}

TEST_F(RunningHostTest, WhatCannotBeDoneIsSaid) {
  ASSERT_NO_FATAL_FAILURE(start(true));
  auto outcome = ask({"reclaim", "nobody", "8M"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("nobody"));
  outcome = ask({"set", "db-1", "reservation=1G"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("reservation"));
  outcome = ask({"set", "db-1", "colour=3"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("colour"));
  EXPECT_EQ(stats(0).reservation, 0u);
}

TEST_F(RunningHostTest, VerbsAreRefusedWhereTheyAreNotPermitted) {
  ASSERT_NO_FATAL_FAILURE(start(false));
  const auto resident = stats(0).resident;
  const std::vector<std::vector<std::string>> verbs = {
      {"reclaim", "db-1", "8M"}, {"restore", "db-1"}, {"rehome", "db-1", "0"}, {"share"}, {"set", "db-1", "limit=24M"}};
  for (const auto& verb : verbs) {
    const auto outcome = ask(verb);
    EXPECT_EQ(outcome.status, 1) << verb[0];
    EXPECT_THAT(outcome.err, HasSubstr("stats_control")) << verb[0];
  }
  EXPECT_EQ(stats(0).resident, resident);
  EXPECT_EQ(stats(0).limit, 0u);
}

}  // namespace
}  // namespace fake
