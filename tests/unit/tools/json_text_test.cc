#include "json_text.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace vmmctl {
namespace {

using nlohmann::json;

TEST(JsonTextTest, NoControlCharacterIsWrittenAsItIs) {
  EXPECT_EQ(json_text({{"name", "\xc2\x9b" "2J"}}), R"({"name":"\u009b2J"})");
  EXPECT_EQ(json_text(json("\x1b[2J\x7f")), R"("\u001b[2J\u007f")");
  // Neighbours of C1 in UTF-8 stay.
  EXPECT_EQ(json_text(json("\u00a0\u00fc\u00db")), "\"\u00a0\u00fc\u00db\"");
  std::string all;
  for (int c = 0; c < 0x80; ++c) all += static_cast<char>(c);
  for (int c = 0x80; c < 0xC0; ++c) all += {'\xc2', static_cast<char>(c)};
  const json document = {{"key \xc2\x85", all}};
  const std::string text = json_text(document, 2);
  EXPECT_EQ(json::parse(text), document);
  for (int c = 0x80; c < 0xA0; ++c)
    EXPECT_EQ(text.find(std::string{'\xc2', static_cast<char>(c)}), std::string::npos) << c;
  EXPECT_TRUE(std::none_of(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7F;
  }));
}

TEST(JsonTextTest, WhatIsNoUtf8IsReplaced) {
  EXPECT_EQ(json_text(json("a\x9b\xc2")), "\"a\uFFFD\uFFFD\"");
}

}  // namespace
}  // namespace vmmctl
