// As much of HTTP/1.1 as is needed to be read by curl, agents and vmmctl (RFC 9112): requests with a bounded head,
// bodies that are skipped, keep-alive, pipelining. Thread-safety: pure.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace vmm::host {

struct HttpRequest {
  std::string method;                        // GET ...
  std::string path;                          // decoded, without the query
  std::map<std::string, std::string> query;  // decoded
  bool keep_alive = true;
};

struct HttpReply {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::string allow;  // the methods that there are, with status 405
};

inline constexpr std::size_t kMostHttpHead = 8192, kMostHttpBody = 4096;  // the head: up to its empty line

// What the bytes so far begin with.
struct HttpParsed {
  std::size_t taken = 0;  // bytes of the request; 0: it is not whole yet
  std::optional<HttpRequest> request;
  // Not a request that can be answered otherwise: 400, 413, 431, 501 or 505. The connection ends after the answer.
  int error = 0;
};
HttpParsed parse_http(std::string_view bytes);

// "%20" is a blank; none if it is not well-formed. "+" is itself.
std::optional<std::string> percent_decoded(std::string_view text);

// What comes before the body of an answer.
std::string http_head(const HttpReply& reply, bool keep_alive);

}  // namespace vmm::host
