#include "text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "locale.h"

namespace vmmctl {
namespace {

TEST(TextTest, TheLocaleSaysWhatTheTerminalShows) {
  {
    const Utf8Locale locale;
    EXPECT_EQ(terminal_charset(), Charset::utf8);
  }
  const Locale locale("C");
  EXPECT_EQ(terminal_charset(), Charset::ascii);
}

TEST(TextTest, NothingThatMovesTheCursorIsPrintable) {
  const Utf8Locale locale;
  struct Case {
    std::string text, utf8, ascii;
  };
  for (const Case& c : {
           Case{"web-1", "web-1", "web-1"}, Case{"a\x1b[2Jb\r\n\tc\x7f", "a�[2Jb���c�", "a?[2Jb???c?"},
           Case{"Datenbank für Zürich", "Datenbank für Zürich", "Datenbank f?r Z?rich"}, Case{"日本", "日本", "??"},
           Case{"\xff\xfe", "��", "??"},        // no UTF-8
           Case{"\xc0\xaf", "��", "??"},        // '/' in more bytes than it takes
           Case{"\xed\xa0\x80", "���", "???"},  // half of a surrogate pair
           Case{"\xe2\x82", "��", "??"},        // cut off
           Case{"e\u0301x", "ex", "e?x"},       // marks that combine have no width
           Case{"a\u202eb", "ab", "a?b"},       // turns the direction of writing
           Case{"\u009b31m", "�31m", "?31m"},   // a control character beyond ASCII
       }) {
    EXPECT_EQ(printable(c.text, Charset::utf8), c.utf8) << c.text;
    EXPECT_EQ(printable(c.text, Charset::ascii), c.ascii) << c.text;
  }
}

TEST(TextTest, FittedTextHasItsWidth) {
  const Utf8Locale locale;
  EXPECT_EQ(fitted("web", 5, Align::left, Charset::utf8), "web  ");
  EXPECT_EQ(fitted("web", 5, Align::right, Charset::utf8), "  web");
  EXPECT_EQ(fitted("orders-database", 7, Align::left, Charset::utf8), "orders…");
  EXPECT_EQ(fitted("orders-database", 7, Align::left, Charset::ascii), "orders~");
  // A wide character that does not fit whole is left out.
  EXPECT_EQ(fitted("日本語", 4, Align::left, Charset::utf8), "日… ");
  for (const char* text : {"", "a", "日本語の名前", "für", "0123456789"})
    for (std::size_t width = 0; width < 14; ++width)
      EXPECT_EQ(width_of(fitted(text, width, Align::right, Charset::utf8)), width) << text;
}

TEST(TextTest, ByteFiguresTakeFiveCharactersAtMost) {
  constexpr std::uint64_t k = 1024;
  struct Case {
    std::uint64_t bytes;
    const char* text;
  };
  for (const Case& c : {Case{0, "0"}, Case{1023, "1023"}, Case{4 * k, "4.00K"}, Case{64 * k, "64.0K"},
                        Case{512 * k * k, "512M"}, Case{1000 * k * k, "0.98G"}, Case{1536 * k * k, "1.50G"},
                        Case{10 * k * k * k * k, "10.0T"}, Case{~std::uint64_t{0}, "16.0E"}})
    EXPECT_EQ(bytes_text(c.bytes), c.text) << c.bytes;
  for (std::uint64_t bytes = 1; bytes < ~std::uint64_t{0} / 3; bytes = bytes * 3 + 7)
    EXPECT_LE(bytes_text(bytes).size(), 5u) << bytes;
}

TEST(TextTest, CountsAndTimes) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(0.25), "0.25");
  EXPECT_EQ(count_text(17), "17");
  EXPECT_EQ(count_text(1234), "1234");
  EXPECT_EQ(count_text(12345), "12.3k");
  EXPECT_EQ(count_text(12345678), "12.3M");
  EXPECT_EQ(duration_text(0), "0 ns");
  EXPECT_EQ(duration_text(14'200), "14.2 us");
  EXPECT_EQ(duration_text(3'000'000'000), "3.00 s");
  EXPECT_EQ(percent_text(1, 4), "25 %");
  EXPECT_EQ(percent_text(1, 0), "-");
}

TEST(TextTest, WhatIsEscapedIsPlainAndCanBeTold) {
  EXPECT_EQ(percent_escaped("web-1 für 日本", "\\()"), "web-1 für 日本");
  EXPECT_EQ(percent_escaped("a)\\b(%", "\\()"), "a%29%5Cb%28%25");
  EXPECT_EQ(percent_escaped("a)", ""), "a)");
  EXPECT_EQ(percent_escaped("\x1b[2J\n\x7f", ""), "%1B[2J%0A%7F");
  EXPECT_EQ(percent_escaped("\xc2\x9b" "2J", ""), "%C2%9B2J");  // CSI, of C1
  EXPECT_EQ(percent_escaped("\x9b", ""), "\uFFFD");
  // Whatever the locale holds to be printable.
  const Utf8Locale locale;
  EXPECT_EQ(percent_escaped("日本\xc2\x80", ""), "日本%C2%80");
}

TEST(TextTest, WrappedLinesKeepWordsWhole) {
  EXPECT_EQ(wrapped("one two three", "> ", 10), "> one two\n> three\n");
  EXPECT_EQ(wrapped("a-word-that-is-too-long b", "", 8), "a-word-that-is-too-long\nb\n");
  EXPECT_EQ(wrapped("", "  ", 8), "");
}

}  // namespace
}  // namespace vmmctl
