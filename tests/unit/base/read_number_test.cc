#include "base/read_number.h"

#include <cstdint>

#include <gtest/gtest.h>

namespace vmm::base {
namespace {

TEST(ReadNumber, IsAllOfTheText) {
  std::uint64_t whole = 0;
  EXPECT_TRUE(read_number("18446744073709551615", whole));
  EXPECT_EQ(whole, UINT64_MAX);
  for (const char* text : {"", " 1", "1 ", "+1", "-1", "0x1", "1.5", "18446744073709551616"})
    EXPECT_FALSE(read_number(text, whole)) << text;
  std::uint32_t small = 0;
  EXPECT_FALSE(read_number("4294967296", small));
  int signed_one = 0;
  EXPECT_TRUE(read_number("-1", signed_one));
  EXPECT_EQ(signed_one, -1);
  double real = 0;
  EXPECT_TRUE(read_number("0.25", real));
  EXPECT_EQ(real, 0.25);
}

}  // namespace
}  // namespace vmm::base
