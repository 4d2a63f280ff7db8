#include "options.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "pools.h"

namespace tenants {
namespace {

Outcome<Options> parse(std::vector<std::string> flags) {
  flags.insert(flags.begin(), "sqlite_tenants");
  std::vector<char*> argv;
  argv.reserve(flags.size() + 1);
  for (std::string& flag : flags) argv.push_back(flag.data());
  argv.push_back(nullptr);
  return parse_options(static_cast<int>(flags.size()), argv.data());
}

TEST(DemoOptionsTest, DefaultsAreSixGuestsInSixtyPercent) {
  const auto options = parse({});
  ASSERT_TRUE(options) << options.error();
  EXPECT_EQ(options->guests, 6U);
  EXPECT_EQ(options->budget, options->guests * options->size * 60 / 100);
  EXPECT_GT(options->reference, 0U);
  EXPECT_GT(options->share_scan_ghz, 0);
  EXPECT_EQ(options->production, 4U);
  EXPECT_EQ(options->production_shares, vmm::Shares::high());
  EXPECT_EQ(options->batch_shares, vmm::Shares::low());
}

// vmmctl finds sockets by the end of their names.
TEST(DemoOptionsTest, TheSocketIsOnePerProcessUnlessSaidOtherwise) {
  const auto options = parse({});
  ASSERT_TRUE(options) << options.error();
  EXPECT_TRUE(options->stats_socket.starts_with('/')) << options->stats_socket;
  EXPECT_TRUE(options->stats_socket.ends_with(".vmm")) << options->stats_socket;
  EXPECT_EQ(parse({"--stats-socket", "none"})->stats_socket, "");
  EXPECT_TRUE(parse({"--stats-socket", "here.vmm"})->stats_socket.ends_with("/here.vmm"));
  EXPECT_FALSE(parse({"--stats-socket", ""}));
}

TEST(DemoOptionsTest, EveryFlagArrives) {
  const auto options = parse({"--guests=8",
                              "--size",
                              "10",
                              "--reference",
                              "0",
                              "--share-scan-ghz",
                              "4",
                              "--budget",
                              "50%",
                              "--seconds",
                              "3",
                              "--seed",
                              "42",
                              "--isolation",
                              "write_protect",
                              "--swap-io",
                              "threads",
                              "--swap-dir",
                              "/somewhere",
                              "--production",
                              "5",
                              "--production-shares",
                              "1000",
                              "--batch-shares",
                              "normal",
                              "--stats-socket",
                              "/somewhere/x.vmm"});
  ASSERT_TRUE(options) << options.error();
  EXPECT_EQ(options->stats_socket, "/somewhere/x.vmm");
  EXPECT_EQ(options->guests, 8U);
  EXPECT_EQ(options->size, 10 * vmm::MiB);
  EXPECT_EQ(options->reference, 0U);
  EXPECT_EQ(options->share_scan_ghz, 4);
  EXPECT_EQ(options->budget, 40 * vmm::MiB);
  EXPECT_EQ(options->seconds, 3U);
  EXPECT_EQ(options->seed, 42U);
  EXPECT_EQ(options->isolation, vmm::Isolation::write_protect);
  EXPECT_EQ(options->swap_io, vmm::SwapIo::threads);
  EXPECT_EQ(options->swap_directory, "/somewhere");
  EXPECT_EQ(options->production, 5U);
  EXPECT_EQ(options->production_shares, vmm::Shares::custom(1000));
  EXPECT_EQ(options->batch_shares, vmm::Shares::normal());
  EXPECT_TRUE(parse({"--help"})->help);
}

TEST(DemoOptionsTest, ABudgetIsAPercentageOrMebibytesInAnyOrderOfFlags) {
  EXPECT_EQ(parse({"--budget", "300"})->budget, 300 * vmm::MiB);
  EXPECT_EQ(parse({"--budget", "300MiB"})->budget, 300 * vmm::MiB);
  EXPECT_EQ(parse({"--budget", "50%", "--guests", "2", "--size", "100"})->budget, 100 * vmm::MiB);
}

TEST(DemoOptionsTest, TwoThirdsOfTheGuestsAreProductionUnlessItIsSaid) {
  struct Case {
    std::vector<std::string> flags;
    std::uint64_t production;
  };
  for (const Case& c : {Case{{"--guests", "1"}, 1}, Case{{"--guests", "2"}, 1}, Case{{"--guests", "3"}, 2},
                        Case{{"--guests", "64"}, 43}, Case{{"--production", "0"}, 0},
                        Case{{"--production", "2", "--guests", "2"}, 2}}) {
    const auto options = parse(c.flags);
    ASSERT_TRUE(options) << options.error();
    EXPECT_EQ(options->production, c.production);
    for (std::uint64_t i = 0; i < options->guests; ++i)
      EXPECT_STREQ(pool_of(*options, i), i < c.production ? "/production" : "/batch");
  }
}

TEST(DemoOptionsTest, AnErrorNamesFlagValueAndRemedy) {
  struct Case {
    std::vector<std::string> flags;
    std::string error;
  };
  const std::vector<Case> cases = {
      {{"--guests", "0"}, "--guests \"0\": give the number of databases, a whole number from 1 to 64"},
      {{"--guests", "6x"}, "--guests \"6x\": give the number of databases, a whole number from 1 to 64"},
      {{"--size", "-5"}, "--size \"-5\": give MiB of rows per guest, a whole number from 1 to 65536"},
      {{"--size", "99999999999999999999"},
       "--size \"99999999999999999999\": give MiB of rows per guest, a whole number from 1 to 65536"},
      {{"--reference", "x"}, "--reference \"x\": give MiB of reference rows per guest, a whole number from 0 to 65536"},
      {{"--share-scan-ghz", "1001"},
       "--share-scan-ghz \"1001\": give MB/s looked at for each GHz of the processors, a whole number from 0 to 1000"},
      {{"--seconds", ""},
       "--seconds \"\": give the seconds of transactions after loading, a whole number from 0 to 86400"},
      {{"--budget", "0%"},
       "--budget \"0%\": give a percentage of the rows loaded (1% to 1000%) or MiB for all guests together "
       "(1 to 16777216)"},
      {{"--production", "7"}, "--production \"7\": there are 6 guests; give as many at most, or more --guests"},
      {{"--production", "x"},
       "--production \"x\": give the number of guests in /production, a whole number from 0 to 64"},
      {{"--batch-shares", "0"}, "--batch-shares \"0\": give low, normal, high or a number from 1 to 1000000000"},
      {{"--isolation", "copy"}, "--isolation \"copy\": give automatic, move or write_protect"},
      {{"--swap-io", "aio"}, "--swap-io \"aio\": give automatic, io_uring or threads"},
      {{"--swap-dir", ""}, "--swap-dir \"\": give the directory of the swap files"},
      {{"--seed"}, "flag \"--seed\": needs a value; see --help"},
      {{"--frobnicate"}, "flag \"--frobnicate\": unknown, ambiguous or given a value it does not take; see --help"},
      {{"6"}, "argument \"6\": only flags are expected; see --help"},
  };
  for (const Case& c : cases) {
    const auto options = parse(c.flags);
    ASSERT_FALSE(options) << c.error;
    EXPECT_EQ(options.error(), c.error);
  }
}

}  // namespace
}  // namespace tenants
