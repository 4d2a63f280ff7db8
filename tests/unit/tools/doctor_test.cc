#include "doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace vmmctl {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using vmm::CapabilityState;

vmm::Capabilities machine(CapabilityState userfaultfd, CapabilityState io_uring) {
  vmm::Capabilities found;
  found.level = userfaultfd == CapabilityState::missing ? vmm::CapabilityLevel::none : vmm::CapabilityLevel::full;
  found.items = {{"userfaultfd", userfaultfd, "EPERM", "nothing can be reclaimed", "sysctl this"},
                 {"io_uring", io_uring, "ENOSYS", "threads are used", "a newer kernel"}};
  found.max_map_count = 65530;
  return found;
}

TEST(DoctorTest, TheWorstItemDecides) {
  struct Case {
    CapabilityState userfaultfd, io_uring;
    Severity severity;
  };
  for (const Case& c : {
           Case{CapabilityState::available, CapabilityState::available, Severity::ok},
           Case{CapabilityState::available, CapabilityState::missing, Severity::advice},
           Case{CapabilityState::limited, CapabilityState::available, Severity::advice},
           Case{CapabilityState::missing, CapabilityState::available, Severity::problem},
       })
    EXPECT_EQ(severity_of(machine(c.userfaultfd, c.io_uring)), c.severity);
  // No level is a problem whatever the items say.
  auto none = machine(CapabilityState::available, CapabilityState::available);
  none.level = vmm::CapabilityLevel::none;
  EXPECT_EQ(severity_of(none), Severity::problem);
}

TEST(DoctorTest, WhatIsWrongIsExplainedAndWhatIsWellIsListed) {
  const auto text = doctor_text(machine(CapabilityState::missing, CapabilityState::available), "Linux 6.1", {});
  EXPECT_THAT(text, AllOf(HasSubstr("libvmm on Linux 6.1: capability level none"), HasSubstr("problem  userfaultfd"),
                          HasSubstr("nothing can be reclaimed"), HasSubstr("remedy: sysctl this"),
                          HasSubstr("ok       io_uring"), Not(HasSubstr("a newer kernel")), HasSubstr("1 problem:"),
                          Not(HasSubstr("\033["))));
  DoctorStyle style;
  style.all = style.colour = true;
  EXPECT_THAT(doctor_text(machine(CapabilityState::available, CapabilityState::available), "Linux", style),
              AllOf(HasSubstr("if it were not so: a newer kernel"), HasSubstr("\033[32mok")));
}

TEST(DoctorTest, JsonSaysTheSame) {
  const auto document = doctor_json(machine(CapabilityState::limited, CapabilityState::missing), "Linux 6.1");
  EXPECT_EQ(document["severity"], "advice");
  EXPECT_EQ(document["level"], "full");
  EXPECT_EQ(document["max_map_count"], 65530);
  EXPECT_EQ(document["items"][1]["name"], "io_uring");
  EXPECT_EQ(document["items"][1]["severity"], "advice");
  EXPECT_EQ(document["items"][1]["state"], "missing");
  EXPECT_EQ(document["items"][1]["remedy"], "a newer kernel");
}

TEST(DoctorTest, TextsThatAreNoUtf8AreMended) {
  vmm::Capabilities found = machine(CapabilityState::missing, CapabilityState::missing);
  auto& item = found.items[0];
  item.name = item.detail = item.consequence = item.remedy = "/tmp/\xff";
  const auto document = doctor_json(found, "Linux \xfe");
  EXPECT_NO_THROW((void)document.dump(2));  // which throws at what is no UTF-8
  EXPECT_EQ(document["items"][0]["consequence"], "/tmp/\uFFFD");
  EXPECT_EQ(document["kernel"], "Linux \uFFFD");
}

}  // namespace
}  // namespace vmmctl
