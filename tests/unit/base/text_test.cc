#include "base/text.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "vmm/units.h"

namespace vmm::base {
namespace {

TEST(Text, BytesUseTheGreatestUnit) {
  struct Case {
    std::uint64_t bytes;
    const char* text;
  };
  for (const Case& c : {Case{0, "0 bytes"}, Case{1, "1 byte"}, Case{1023, "1023 bytes"}, Case{KiB, "1 KiB"},
                        Case{1536, "1.5 KiB"}, Case{MiB - 1, "1024.0 KiB"}, Case{512 * MiB, "512 MiB"},
                        Case{GiB + GiB / 2, "1.5 GiB"}, Case{64 * GiB, "64 GiB"}, Case{2048 * GiB, "2 TiB"},
                        Case{std::numeric_limits<std::uint64_t>::max(), "16.0 EiB"}})
    EXPECT_EQ(bytes_text(c.bytes), c.text) << c.bytes;
}

TEST(Text, Lists) {
  EXPECT_EQ(list_text({}), "none");
  EXPECT_EQ(list_text({3}), "3");
  EXPECT_EQ(list_text({0, 2, 5}), "0,2,5");
}

TEST(Text, ParsesTheKernelsLists) {
  struct Case {
    const char* text;
    std::vector<int> numbers;
  };
  for (const Case& c : {Case{"", {}}, Case{"\n", {}}, Case{"0\n", {0}}, Case{"0-3,8\n", {0, 1, 2, 3, 8}},
                        Case{"5,1-2", {1, 2, 5}}, Case{"1,1-2", {1, 2}}}) {
    const auto numbers = parse_list(c.text);
    ASSERT_TRUE(numbers.has_value()) << c.text;
    EXPECT_EQ(*numbers, c.numbers) << c.text;
  }
}

TEST(Text, RefusesWhatIsNoList) {
  for (const char* text : {"x", "-1", "3-1", "1,", ",1", "1 2", "1--2", "99999999999", "0-2000000000", "1-"})
    EXPECT_FALSE(parse_list(text).has_value()) << text;
}

}  // namespace
}  // namespace vmm::base
