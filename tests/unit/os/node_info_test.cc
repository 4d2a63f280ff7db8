#include "os/node_info.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "os/call.h"
#include "os/proc_text.h"
#include "support/fault_injector.h"
#include "vmm/units.h"

namespace vmm::os {
namespace {

TEST(ProcText, FindsWholeFieldNamesOnly) {
  const std::string text = "MemTotalX:  1 kB\nMemTotal:    4096 kB\nNode 0 MemFree:   12 kB\nEmpty:\nlimit 77\nlast: 5";
  EXPECT_EQ(field_of(text, "MemTotal"), "4096 kB");
  EXPECT_EQ(field_of(text, "Node 0 MemFree"), "12 kB");
  EXPECT_EQ(field_of(text, "Empty"), "");
  EXPECT_EQ(field_of(text, "limit"), "77");
  EXPECT_EQ(field_of(text, "last"), "5");
  EXPECT_EQ(field_of(text, "Mem"), "");
  EXPECT_EQ(field_of("", "x"), "");
}

TEST(ProcText, NumbersAreWholeOrNone) {
  EXPECT_EQ(number_of("4096 kB"), 4096U);
  EXPECT_EQ(number_of("0\n"), 0U);
  EXPECT_EQ(number_of("18446744073709551615"), UINT64_MAX);
  EXPECT_FALSE(number_of("18446744073709551616").has_value());
  EXPECT_FALSE(number_of("max").has_value());
  EXPECT_FALSE(number_of("-1").has_value());
  EXPECT_FALSE(number_of("").has_value());
}

TEST(NodeInfo, AnAllowedNodeHasFreeMemoryWithinTheMachines) {
  const auto nodes = allowed_nodes();
  ASSERT_TRUE(nodes) << nodes.error().message();
  ASSERT_FALSE(nodes->empty());
  const auto machine = machine_memory();
  ASSERT_TRUE(machine) << machine.error().message();
  for (const int node : *nodes) {
    const auto free = node_free_bytes(node);
    if (!free && free.error().code.value() == ENODEV) GTEST_SKIP() << "/sys/devices/system/node is not visible here";
    ASSERT_TRUE(free) << free.error().message();
    EXPECT_LT(*free, *machine + 64 * MiB);
    EXPECT_TRUE(node_cpus(node)) << node;
  }
}

TEST(NodeInfo, ANodeThatDoesNotExistIsEnodev) {
  for (const int node : {-1, 65535}) {
    EXPECT_EQ(node_free_bytes(node).error().code.value(), ENODEV) << node;
    const auto cpus = node_cpus(node);
    ASSERT_FALSE(cpus) << node;
    EXPECT_EQ(cpus.error().code.value(), ENODEV) << node;
    EXPECT_NE(cpus.error().operation.find(std::to_string(node)), std::string::npos);
    EXPECT_FALSE(cpus.error().remedy.empty());
  }
}

TEST(NodeInfo, FailuresOfReadingArePassedOn) {
  const test::NthCallFails failing(Call::read_file, 1, EACCES, test::NthCallFails::Repeat::forever);
  EXPECT_EQ(allowed_nodes().error().code.value(), EACCES);
  EXPECT_EQ(machine_memory().error().code.value(), EACCES);
  EXPECT_EQ(node_free_bytes(0).error().code.value(), EACCES);
  EXPECT_EQ(node_cpus(0).error().code.value(), EACCES);
}

}  // namespace
}  // namespace vmm::os
