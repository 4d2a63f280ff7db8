#include "host/text_out.h"

#include <limits>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace vmm::host {
namespace {

template <class F, class T>
std::string made(F append_to, T value) {
  std::string out;
  append_to(out, value);
  return out;
}
std::string decimal(std::uint64_t value, int digits) {
  char text[kNumber];
  return {text, write_decimal(text, value, digits)};
}
std::string json(std::string_view text) {
  return made([](auto& o, auto v) { append_json(o, v); }, text);
}
std::string label(std::string_view text) {
  return made([](auto& o, auto v) { append_label(o, v); }, text);
}
std::string csv(std::string_view text) {
  return made([](auto& o, auto v) { append_csv(o, v); }, text);
}

TEST(TextOut, NumbersAreExact) {
  std::string out;
  append(out, std::numeric_limits<std::uint64_t>::max());
  append(out, ' ' == 32 ? -1 : 0);
  EXPECT_EQ(out, "18446744073709551615-1");
  out.clear();
  append(out, 0.1);
  EXPECT_EQ(out, "0.1");
  out.clear();
  append(out, std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(out, "0");
}

TEST(TextOut, DecimalsHaveNoMoreDigitsThanTheyNeed) {
  EXPECT_EQ(decimal(0, 9), "0");
  EXPECT_EQ(decimal(1, 9), "0.000000001");
  EXPECT_EQ(decimal(1'500'000'000, 9), "1.5");
  EXPECT_EQ(decimal(2'000'000'000, 9), "2");
  EXPECT_EQ(decimal(10'010'000'000, 9), "10.01");
  EXPECT_EQ(decimal(std::numeric_limits<std::uint64_t>::max(), 9), "18446744073.709551615");
  EXPECT_EQ(decimal(1234, 3), "1.234");
}

TEST(TextOut, GoodNamesStayAsTheyAre) {
  for (const std::string_view name : {"db-1", "", "gr\xc3\xbc\xc3\x9f", "\xe2\x82\xac", "\xf0\x9f\x90\xa7"})
    EXPECT_EQ(utf8(name), name);
}

TEST(TextOut, BytesThatAreNoCharactersBecomeSome) {
  EXPECT_EQ(utf8("a\xff"), "a\xee\xbf\xbf");
  EXPECT_EQ(utf8("\x80"), "\xee\xbe\x80");
  EXPECT_EQ(utf8("\xc3"), "\xee\xbf\x83") << "cut off";
  EXPECT_EQ(utf8("\xed\xa0\x80"), "\xee\xbf\xad\xee\xbe\xa0\xee\xbe\x80") << "a surrogate";
  EXPECT_EQ(utf8("\xc0\xaf"), "\xee\xbf\x80\xee\xbe\xaf") << "could be shorter";
  EXPECT_EQ(utf8("\xf4\x90\x80\x80").size(), 12U) << "beyond the last character";
}

// Also names that look like what others become.
TEST(TextOut, DifferentNamesStayDifferent) {
  std::set<std::string> names, texts;
  for (const char* first : {"\xff", "\xee\xbf\xbf", "\xee", "\xbf", "\x80", "\xc3\xbc", "\xc3", "\xbc", "a"})
    for (const char* second : {"", "\xff", "\xee\xbf\xbf", "\xbf\xbf", "\xbe\x80", "\xbc", "b"}) {
      names.insert(std::string(first) + second);
      texts.insert(utf8(std::string(first) + second));
      EXPECT_EQ(utf8(utf8(std::string(first) + second)) == utf8(std::string(first) + second),
                utf8(std::string(first) + second) == std::string(first) + second);
    }
  EXPECT_EQ(names.size(), texts.size());
}

TEST(TextOut, JsonIsEscaped) {
  EXPECT_EQ(json("a\"b\\c\n\x01\x7f"), R"("a\"b\\c\u000a\u0001\u007f")");
  EXPECT_EQ(json(std::string_view("\0", 1)), R"("\u0000")");
}

TEST(TextOut, LabelsAreEscaped) { EXPECT_EQ(label("a\"b\\c\nd,e={}"), R"(a\"b\\c\nd,e={})"); }

TEST(TextOut, CsvIsQuotedWhereNeeded) {
  EXPECT_EQ(csv("db 1"), "db 1");
  EXPECT_EQ(csv("a,b"), "\"a,b\"");
  EXPECT_EQ(csv("a\"b\r\n"), "\"a\"\"b\r\n\"");
}

}  // namespace
}  // namespace vmm::host
