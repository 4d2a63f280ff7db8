// One HTTP/1.1 request over a Unix stream socket, bounded in time and in size: whatever listens there, the caller goes
// on after the time is up.
// Thread-safety: functions may be called from any thread; a ResponseReader belongs to one.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "failure.h"

namespace vmmctl {

struct Response {
  int status = 0;
  std::string body;
};

struct Limits {
  std::chrono::milliseconds timeout{5000};  // for the whole of a request
  std::size_t body_bytes = std::size_t{64} << 20;
  int cancel = -1;  // a descriptor: when it becomes readable the request ends with FailureKind::cancelled
};

// Puts an answer together from the pieces that arrive. Only answers with a Content-Length are understood.
class ResponseReader {
 public:
  explicit ResponseReader(std::size_t body_bytes) : most_(body_bytes) {}

  // True once the answer is whole. Errors: FailureKind::garbage.
  Result<bool> feed(std::string_view piece);
  // The answer, once it is whole.
  Response take() { return std::move(response_); }

 private:
  Result<void> read_head(std::string_view head);

  const std::size_t most_;
  bool in_body_ = false;
  std::size_t expected_ = 0;
  std::string head_;
  Response response_;
};

// The answer of any status. Errors: FailureKind::gone, denied, slow, garbage, cancelled, usage (path too long), system.
Result<Response> request(const std::string& socket_path, std::string_view method, const std::string& target,
                         const Limits& limits);

// For the value of a query.
std::string percent_encoded(std::string_view text);

}  // namespace vmmctl
