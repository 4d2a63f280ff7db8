// vmmctl doctor in a process that userfaultfd is denied to: what is missing, what that means, and how to allow it.
#include <cerrno>
#include <regex>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program.h"
#include "support/child.h"
#include "support/deny_userfaultfd.h"

namespace fake {
namespace {

// Lines are broken where the terminal ends.
std::string in_one_line(const std::string& text) { return std::regex_replace(text, std::regex("\\s+"), " "); }

TEST(DoctorTest, SaysHowADeniedUserfaultfdIsAllowed) {
  for (const int error : {EPERM, ENOSYS}) {
    VMM_EXPECT_CHILD(vmm::test::in_child([&](vmm::test::Findings& findings) {
      if (const int e = vmm::test::deny_userfaultfd(static_cast<unsigned short>(error)))
        return findings.skip("no seccomp filter can be set here: errno " + std::to_string(e));
      const Outcome said = vmmctl({"doctor"});
      findings.check_equal(said.status, 2, "exit status");
      findings.check_equal(said.err, std::string(), "standard error");
      const std::string text = in_one_line(said.out);
      for (const char* part : {"capability level none", "problem userfaultfd", "user mode only: ", "system call: ",
                               "/dev/userfaultfd", "this process runs under a seccomp filter",
                               "nothing can be reclaimed, so the budget cannot be overcommitted",
                               "--security-opt seccomp=PROFILE", "SystemCallFilter=userfaultfd"})
        findings.check(text.find(part) != std::string::npos, std::string("\"") + part + "\" is not in: " + text);
    }));
  }
}

}  // namespace
}  // namespace fake
