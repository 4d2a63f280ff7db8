#include "host/http.h"

#include <string>

#include <gtest/gtest.h>

namespace vmm::host {
namespace {

TEST(Http, ReadsARequest) {
  const std::string text = "GET /stats.json?guest=db%201&x=&y HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const auto parsed = parse_http(text + "GET /next");
  ASSERT_TRUE(parsed.request);
  EXPECT_EQ(parsed.taken, text.size());
  EXPECT_EQ(parsed.request->method, "GET");
  EXPECT_EQ(parsed.request->path, "/stats.json");
  EXPECT_EQ(parsed.request->query, (std::map<std::string, std::string>{{"guest", "db 1"}, {"x", ""}, {"y", ""}}));
  EXPECT_TRUE(parsed.request->keep_alive);
}

TEST(Http, WaitsForTheRestOfARequest) {
  const std::string text = "POST /control/set HTTP/1.1\r\ncontent-length:  5 \r\n\r\nabcde";
  for (std::size_t part = 0; part < text.size(); ++part) {
    const auto parsed = parse_http(text.substr(0, part));
    EXPECT_FALSE(parsed.request) << part;
    EXPECT_EQ(parsed.error, 0) << part;
    EXPECT_EQ(parsed.taken, 0U) << part;
  }
  EXPECT_EQ(parse_http(text).taken, text.size()) << "the body is skipped";
}

TEST(Http, KnowsWhenTheConnectionEnds) {
  const auto keeps = [](const std::string& text) { return parse_http(text).request->keep_alive; };
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.1\r\nconnection: close\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.1\r\nConnection: close, TE\r\n\r\n")) << "it is a list";
  EXPECT_TRUE(keeps("GET / HTTP/1.0\r\nConnection: TE , keep-alive\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.1\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n")) << "close wins";
}

TEST(Http, ReadsLinesAsPeopleTypeThem) {
  for (const std::string text : {"GET / HTTP/1.1\n\n", "GET / HTTP/1.1\n\r\n", "GET / HTTP/1.1\r\n\n",
                                 "\r\nGET / HTTP/1.1\r\n\r\n", "\n\nGET / HTTP/1.1\nX: y\n\n"}) {
    const auto parsed = parse_http(text + "GET /next");
    ASSERT_TRUE(parsed.request) << text;
    EXPECT_EQ(parsed.taken, text.size());
    EXPECT_EQ(parsed.request->path, "/");
  }
  EXPECT_EQ(parse_http("\r\n\r\n").error, 0) << "nothing has begun yet";
  EXPECT_EQ(parse_http(std::string(9000, '\n')).error, 431);
}

TEST(Http, RefusesWhatItCannotRead) {
  const struct {
    std::string text;
    int error;
  } cases[] = {
      {"GET\r\n\r\n", 400},
      {"GET / FTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\n\r\n", 505},
      {"GET http://x/ HTTP/1.1\r\n\r\n", 400},
      {"GET /%zz HTTP/1.1\r\n\r\n", 400},
      {"GET /?a=%1 HTTP/1.1\r\n\r\n", 400},
      {"GET /?a=1&a=2 HTTP/1.1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 1x\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 4097\r\n\r\n", 413},
      // Two programs on the way might take different bytes for the next request.
      {"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 0\r\n\r\nPOST", 400},
      {"POST / HTTP/1.1\r\nContent-Length : 4\r\n\r\nPOST", 400},
      {"POST / HTTP/1.1\r\nX: y\r\n Content-Length: 4\r\n\r\nPOST", 400},
      {"POST / HTTP/1.1\r\nX: y\rContent-Length: 4\r\n\r\nPOST", 400},
      {"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n: of nothing\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413},
      {"GET /" + std::string(9000, 'a'), 431},
      {"GET / HTTP/1.1\r\nX: " + std::string(9000, 'a') + "\r\n\r\n", 431},
      {std::string("\x16\x03\x01\x02\x00\x01", 6), 400},  // a client that begins with TLS
  };
  for (const auto& c : cases) {
    const auto parsed = parse_http(c.text);
    EXPECT_EQ(parsed.error, c.error) << c.text.substr(0, 60);
    EXPECT_FALSE(parsed.request);
    EXPECT_EQ(parsed.taken, c.text.size());
  }
}

TEST(Http, DecodesPercents) {
  EXPECT_EQ(percent_decoded("a%20b+c%2F"), "a b+c/");
  EXPECT_EQ(percent_decoded("%00%ff"), std::string("\0\xff", 2));
  EXPECT_EQ(percent_decoded("%"), std::nullopt);
  EXPECT_EQ(percent_decoded("%a"), std::nullopt);
  EXPECT_EQ(percent_decoded("%4G"), std::nullopt);
  EXPECT_EQ(percent_decoded("%41"), "A");
}

TEST(Http, AnswersTellTheirLength) {
  HttpReply reply;
  reply.body = "{}";
  const auto answer = http_head(reply, true);
  EXPECT_EQ(answer.rfind("HTTP/1.1 200 OK\r\n", 0), 0U);
  EXPECT_NE(answer.find("\r\nContent-Length: 2\r\n"), std::string::npos);
  EXPECT_NE(answer.find("\r\nConnection: keep-alive\r\n"), std::string::npos);
  EXPECT_EQ(answer.substr(answer.size() - 4), "\r\n\r\n");
  reply.status = 405;
  reply.allow = "POST";
  const auto head = http_head(reply, false);
  EXPECT_NE(head.find("\r\nAllow: POST\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nContent-Length: 2\r\n"), std::string::npos);
  EXPECT_EQ(head.substr(head.size() - 4), "\r\n\r\n");
}

}  // namespace
}  // namespace vmm::host
