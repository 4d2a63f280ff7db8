// A program that checks all that it gets, as it is and in a guest: with room, and with half of the memory it uses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "run/in_guest_test.h"
#include "run/measured.h"

namespace run_test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class RunSubject : public InGuestTest {
 protected:
  // Returns what is said on standard error in the second run.
  std::string both(const std::string& part, std::uint64_t mib, const std::string& memory) {
    const std::vector<std::string> program = {RUN_SUBJECT, part, std::to_string(mib)};
    const auto room = run_in_guest({"--memory", "1G", "--size", "1G"}, program);
    EXPECT_EQ(room.out, "well\n") << room.err;
    EXPECT_EQ(room.status, 0);
    EXPECT_THAT(room.err, IsEmpty());
    const auto half = run_in_guest({"--memory", memory, "--size", "512M", "--report-at-exit"}, program);
    EXPECT_EQ(half.out, "well\n") << half.err;
    EXPECT_EQ(half.status, 0);
    return half.err;
  }
};

TEST_F(RunSubject, IsContentByItself) {
  for (const std::string part :
       {"malloc", "threads", "mappings", "fork", "fork_exec", "fork_tree", "fork_drop", "plugin"})
    EXPECT_EQ(fake::run({RUN_SUBJECT, part, "16"}).out, "well\n") << part;
}

TEST_F(RunSubject, AllocatorsDoAsTheCLibrarys) { both("malloc", 0, "32M"); }

TEST_F(RunSubject, ThreadsExchangeMemory) {
  const auto said = both("threads", 96, "48M");
  EXPECT_GT(reported(said, "swapped out"), 0) << said;
}

TEST_F(RunSubject, MappingsDoAsTheKernels) { both("mappings", 0, "32M"); }

TEST_F(RunSubject, LaterLibraries) { both("plugin", 0, "32M"); }

TEST_F(RunSubject, ChildHasAllMemory) {
  const auto said = both("fork", 64, "32M");
  EXPECT_GT(reported(said, "swapped out"), 0) << said;
}

TEST_F(RunSubject, ChildrenThatExec) { both("fork_exec", 64, "32M"); }

TEST_F(RunSubject, ChildsChildHasAllMemory) { both("fork_tree", 64, "32M"); }

TEST_F(RunSubject, ChildDropsMemory) { both("fork_drop", 64, "32M"); }

TEST_F(RunSubject, DescriptorsOfTheLibraryStay) {
  const auto outcome = run_in_guest({"--memory", "32M", "--size", "256M"}, {RUN_SUBJECT, "descriptors", "64"});
  EXPECT_EQ(outcome.out, "well\n") << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("descriptor"));
}

TEST_F(RunSubject, WhatCannotBeIsRefusedAndSaidOnce) {
  const auto outcome = run_in_guest({"--memory", "64M"}, {RUN_SUBJECT, "limits"});
  EXPECT_EQ(outcome.out, "well\n") << outcome.err;
  for (const std::string what : {"mlockall", "MAP_FIXED", "(mremap)", "MADV_WIPEONFORK"}) {
    const auto first = outcome.err.find(what);
    EXPECT_NE(first, std::string::npos) << what;
    EXPECT_EQ(outcome.err.find(what, first + 1), std::string::npos) << outcome.err;
  }
}

TEST_F(RunSubject, FullIsTold) {
  const auto outcome = run_in_guest({"--memory", "32M", "--size", "64M"}, {RUN_SUBJECT, "full"});
  EXPECT_EQ(outcome.out, "well\n") << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("--size"));
}

TEST_F(RunSubject, ProgramThatGoesToTheBackgroundIsToldOf) {
  const auto outcome = run_in_guest({"--memory", "64M"}, {RUN_SUBJECT, "session"});
  EXPECT_EQ(outcome.out, "well\n");
  EXPECT_THAT(outcome.err, HasSubstr("background"));
}

}  // namespace
}  // namespace run_test
