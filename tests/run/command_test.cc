// vmmctl run as a command: what it refuses, what it ends with, and what the program gets of its environment.
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "run/in_guest_test.h"
#include "run/measured.h"
#include "support/temp_directory.h"

namespace run_test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class RunCommand : public InGuestTest {
 protected:
  vmm::test::TempDirectory directory_;
};

TEST_F(RunCommand, EndsAsTheProgramDoes) {
  EXPECT_EQ(run_in_guest({"--memory", "64M"}, {"sh", "-c", "exit 7"}).status, 7);
  EXPECT_EQ(run_in_guest({"--memory", "64M"}, {"sh", "-c", "kill -TERM $$"}).status, 128 + SIGTERM);
  EXPECT_EQ(run_in_guest({}, {"vmm-no-such-program"}).status, 127);
  EXPECT_EQ(run_in_guest({}, {"/nowhere/program"}).status, 127);
  EXPECT_EQ(run_in_guest({}, {"/etc/passwd"}).status, 126);
  EXPECT_EQ(run_in_guest({}, {"/"}).status, 126);
}

TEST_F(RunCommand, PassesArgumentsAsTheyAre) {
  EXPECT_EQ(run_in_guest({"--memory", "64M"}, {"printf", "%s|", "a", "", "--memory", "--", "-x"}).out,
            "a||--memory|--|-x|");
  // Without the dashes, what follows the program's name is the program's.
  EXPECT_EQ(fake::vmmctl({"run", "--memory", "64M", "printf", "%s|", "--memory", "--", "-x"}).out, "--memory|--|-x|");
  const auto none = fake::vmmctl({"run", "--memory", "64M"});
  EXPECT_EQ(none.status, 64);
  EXPECT_THAT(none.err, HasSubstr("which program?"));
}

TEST_F(RunCommand, SaysWhichOptionIsWrong) {
  for (const std::string option : {"--memory", "--size", "--mmap-threshold"}) {
    const auto outcome = run_in_guest({option, "1"}, {"true"});
    EXPECT_EQ(outcome.status, 125);
    EXPECT_THAT(outcome.err, HasSubstr(option + " 1"));
  }
  const auto outcome = run_in_guest({"--children", "--stats-socket", "/tmp/one.vmm"}, {"true"});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_THAT(outcome.err, HasSubstr("%p"));
  const auto nowhere = run_in_guest({"--memory", "64M", "--swap-directory", "/nowhere"}, {"true"});
  EXPECT_EQ(nowhere.status, 125);
  EXPECT_THAT(nowhere.err, HasSubstr("/nowhere"));
}

TEST_F(RunCommand, RefusesWhatNoLibraryCanBeLoadedInto) {
  const auto refused = [](const std::string& program, const std::string& why) {
    const auto outcome = run_in_guest({"--memory", "64M"}, {program});
    EXPECT_EQ(outcome.status, 125) << program;
    EXPECT_THAT(outcome.err, HasSubstr(why)) << program;
    EXPECT_THAT(outcome.out, IsEmpty()) << program;
  };
  refused(RUN_STATIC_PROGRAM, "linked statically");
  const auto file = [&](const std::string& name, const std::string& bytes) {
    const auto path = directory_.file(name);
    std::ofstream(path) << bytes;
    ::chmod(path.c_str(), 0755);
    return path;
  };
  // An ELF file for another machine: 64 bit, little-endian, AArch64.
  std::string other(64, '\0');
  other.replace(0, 7,
                "\x7f"
                "ELF\x02\x01\x01");
  other[18] = static_cast<char>(0xb7);
  refused(file("other", other), "not a program for x86-64");
  refused(file("text", "what is this?\n"), "neither a program nor a script");
  refused(file("script", std::string("#!") + RUN_STATIC_PROGRAM + "\n"), "linked statically");
  // A script's interpreter gets a guest.
  EXPECT_EQ(run_in_guest({"--memory", "64M"}, {file("good", "#!/bin/sh\necho \"$1\"\n"), "hello"}).out, "hello\n");
}

TEST_F(RunCommand, LeavesTheEnvironmentOfChildrenAlone) {
  const auto outcome = fake::run(in_guest({"--memory", "64M"}, {RUN_SUBJECT, "environment"}), {"KEPT=1"});
  EXPECT_EQ(outcome.out, "LD_PRELOAD=(none)\nVMM_RUN=(none)\nKEPT=1\nchild (none) (none)\n") << outcome.err;
}

TEST_F(RunCommand, KeepsAFormerPreload) {
  const auto outcome = fake::run(in_guest({"--memory", "64M"}, {RUN_SUBJECT, "environment"}),
                                 {std::string("LD_PRELOAD=") + RUN_SUBJECT_PLUGIN});
  EXPECT_THAT(outcome.out, HasSubstr(std::string("LD_PRELOAD=") + RUN_SUBJECT_PLUGIN + "\n"));
  EXPECT_THAT(outcome.out, HasSubstr(std::string("child ") + RUN_SUBJECT_PLUGIN + " (none)"));
}

TEST_F(RunCommand, ChildrenGetGuestsWhereAskedFor) {
  const auto outcome = run_in_guest({"--memory", "64M", "--size", "128M", "--children", "--report-at-exit"},
                                    {RUN_SUBJECT, "environment"});
  EXPECT_THAT(outcome.out, HasSubstr("child /"));
  // Two reports: the shell's, and the program's.
  const auto first = outcome.err.find("budget 64.0 MiB");
  ASSERT_NE(first, std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("budget 64.0 MiB", first + 1), std::string::npos) << outcome.err;
}

TEST_F(RunCommand, WhatIsExecedInItsPlaceHasAGuestToo) {
  // It fills a guest of that size, and so ends; without one it would take all of the machine's memory.
  const auto outcome = run_in_guest({"--memory", "64M", "--size", "96M"}, {RUN_SUBJECT, "exec"});
  EXPECT_EQ(outcome.out, "well\n") << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("memory is full"));
  // env(1), as the first line of scripts has it.
  const auto by_env = run_in_guest({"--memory", "64M", "--size", "96M"}, {"env", RUN_SUBJECT, "full"});
  EXPECT_EQ(by_env.out, "well\n") << by_env.err;
}

TEST_F(RunCommand, HostIsFoundAndItsSocketGoesWithIt) {
  const auto socket = directory_.file("run.vmm");
  const auto outcome = run_in_guest({"--memory", "64M", "--stats-socket", socket},
                                    {"sh", "-c", "echo \"$(" VMMCTL_PROGRAM " top --batch -n 1 " + socket + ")\""});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("sh"));  // the guest has the program's name
  struct stat there {};
  EXPECT_NE(::stat(socket.c_str(), &there), 0);
}

TEST_F(RunCommand, ReportsAtExit) {
  const auto outcome =
      run_in_guest({"--memory", "64M", "--size", "256M", "--report-at-exit"}, {RUN_SUBJECT, "fork", "100"});
  EXPECT_EQ(outcome.out, "well\n") << outcome.err;
  EXPECT_EQ(reported(outcome.err, "budget"), 64) << outcome.err;
  EXPECT_GE(reported(outcome.err, "swapped out"), 36) << outcome.err;
  EXPECT_GE(reported(outcome.err, "mappings"), 50) << outcome.err;
}

}  // namespace
}  // namespace run_test
