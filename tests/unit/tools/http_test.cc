#include "http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmmctl {
namespace {

using testing::HasSubstr;

TEST(ResponseReaderTest, AnAnswerIsWholeHoweverItIsCut) {
  const std::string text = "HTTP/1.1 200 OK\r\ncontent-LENGTH:  5 \r\nX: y\r\n\r\nhello";
  for (std::size_t cut = 1; cut < text.size(); ++cut) {
    ResponseReader reader(100);
    auto first = reader.feed(std::string_view(text).substr(0, cut));
    ASSERT_TRUE(first) << cut << ": " << first.error().what;
    EXPECT_FALSE(*first) << cut;
    auto second = reader.feed(std::string_view(text).substr(cut));
    ASSERT_TRUE(second) << cut << ": " << second.error().what;
    EXPECT_TRUE(*second) << cut;
    const Response response = reader.take();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "hello");
  }
}

TEST(ResponseReaderTest, WhatFollowsTheAnswerIsNotPartOfIt) {
  ResponseReader reader(100);
  EXPECT_TRUE(reader.feed("HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200").value());
  const Response response = reader.take();
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.body, "{}");
}

TEST(ResponseReaderTest, WhatIsNoAnswerIsRefusedAsSoonAsItShows) {
  struct Case {
    const char* text;
    const char* says;
  };
  for (const Case& c : {
           Case{"SSH-2.0-OpenSSH\r\n", "not HTTP but begins with 'SSH-2.0-OpenSSH"},
           Case{"\x01\x02", "not HTTP"},
           Case{"HTTP/1.1 abc\r\n\r\n", "not HTTP"},
           Case{"HTTP/1.1\r\n\r\n", "not HTTP"},
           Case{"HTTP/1.1 200 OK\r\n\r\n", "no Content-Length"},
           Case{"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "Content-Length is no number"},
           Case{"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "Content-Length is no number"},
           Case{"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", "at most 100 are read"},
           Case{"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "is no number"},
       }) {
    ResponseReader reader(100);
    const auto read = reader.feed(c.text);
    ASSERT_FALSE(read) << c.text;
    EXPECT_EQ(read.error().kind, FailureKind::garbage);
    EXPECT_THAT(read.error().what, HasSubstr(c.says));
  }
}

TEST(ResponseReaderTest, AHeadThatNeverEndsIsNotKept) {
  ResponseReader reader(100);
  ASSERT_TRUE(reader.feed("HTTP/1.1 200 OK\r\n"));
  const std::string piece(4096, 'x');
  Result<bool> read = false;
  for (int i = 0; i < 100 && read; ++i) read = reader.feed(piece);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().what, HasSubstr("head is longer than"));
}

TEST(HttpTest, ValuesOfAQueryAreEncoded) {
  EXPECT_EQ(percent_encoded("web-1_a.b~/c"), "web-1_a.b~/c");
  EXPECT_EQ(percent_encoded("a b&c=d?#%+\n"), "a%20b%26c%3Dd%3F%23%25%2B%0A");
  EXPECT_EQ(percent_encoded("für"), "f%C3%BCr");
}

TEST(HttpTest, APathThatIsTooLongIsNamed) {
  const auto response = request("/tmp/" + std::string(200, 'x'), "GET", "/", {});
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().kind, FailureKind::usage);
  EXPECT_THAT(response.error().message(), HasSubstr("a path has 1 to 107 bytes"));
}

}  // namespace
}  // namespace vmmctl
