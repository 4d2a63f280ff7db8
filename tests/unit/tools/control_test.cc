#include "control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace vmmctl {
namespace {

using testing::HasSubstr;

TEST(ControlTest, SizesHaveUnits) {
  struct Case {
    const char* text;
    std::uint64_t bytes;
  };
  for (const Case& c : {Case{"0", 0}, Case{"4096", 4096}, Case{"512K", 512 << 10}, Case{"1.5G", 3ULL << 29},
                        Case{"2GiB", 2ULL << 30}, Case{"3mb", 3 << 20}, Case{"10B", 10}, Case{"1T", 1ULL << 40},
                        Case{"18446744073709551615", 18446744073709551615U}})
    EXPECT_EQ(parse_bytes(c.text).value_or(1), c.bytes) << c.text;
  for (const char* wrong : {"", "G", "-1", "1X", "1e9", "1 G", "0x10", "1.2.3", "18446744073709551616", "1Gx", "nan"})
    EXPECT_FALSE(parse_bytes(wrong)) << wrong;
}

TEST(ControlTest, TargetsAreEncoded) {
  EXPECT_EQ(control_target("share", {}), "/control/share");
  EXPECT_EQ(control_target("reclaim", {{"guest", "a b&c"}, {"bytes", "4096"}}),
            "/control/reclaim?guest=a%20b%26c&bytes=4096");
}

TEST(ControlTest, SetTakesAGuestAndFields) {
  EXPECT_EQ(set_target("", {"web", "limit=2G", "shares=4000", "pool=/batch"}).value(),
            "/control/set?guest=web&limit=2147483648&shares=4000&pool=/batch");
  EXPECT_EQ(set_target("", {"memory=1G", "idle_tax=0.5"}).value(), "/control/set?memory=1073741824&idle_tax=0.5");
  EXPECT_EQ(set_target("a=b", {"limit=0"}).value(), "/control/set?guest=a%3Db&limit=0");
  struct Case {
    std::vector<std::string> words;
    const char* says;
  };
  for (const Case& c : {Case{{"web"}, "nothing is to be set"}, Case{{"limit=much"}, "limit: size 'much'"},
                        Case{{"limit=1", "web"}, "'web' is not of the form"}, Case{{"=1"}, "not of the form"}}) {
    const auto target = set_target("", c.words);
    ASSERT_FALSE(target) << c.says;
    EXPECT_THAT(target.error().message(), HasSubstr(c.says));
  }
}

TEST(ControlTest, AnswersAreWords) {
  EXPECT_EQ(control_text({{"ok", true}}), "done\n");
  EXPECT_EQ(control_text({{"ok", true}, {"bytes", 2U << 20}, {"cpu_ns", 7}}),
            "bytes: 2.00M (2097152 bytes)\ncpu_ns: 7\n");
}

}  // namespace
}  // namespace vmmctl
