// HttpClient: what a test says to the socket of a host, byte by byte if need be.
// Thread-safety: one thread.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace vmm::test {

struct HttpAnswer {
  int status = 0;  // 0: the connection ended, or nothing came
  std::string head, body;
};

class HttpClient {
 public:
  explicit HttpClient(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    error_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
  }
  ~HttpClient() { close(); }
  HttpClient(HttpClient&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), error_(other.error_), input_(std::move(other.input_)) {}
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  int error() const noexcept { return error_; }  // errno of connect(2)
  int fd() const noexcept { return fd_; }
  // False: the other side is gone.
  bool send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  void end_sending() const { ::shutdown(fd_, SHUT_WR); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  // The next answer. Waits; a server that hangs is the deadline's of the test.
  HttpAnswer read(bool head_only = false) {
    HttpAnswer answer;
    std::size_t end;
    while ((end = input_.find("\r\n\r\n")) == std::string::npos)
      if (!receive()) return answer;
    answer.head = input_.substr(0, end + 2);
    input_.erase(0, end + 4);
    std::size_t length = 0;
    constexpr std::string_view kLength = "\r\nContent-Length: ";
    const auto at = answer.head.find(kLength);
    if (at != std::string::npos)
      std::from_chars(answer.head.data() + at + kLength.size(), answer.head.data() + answer.head.size(), length);
    if (head_only) length = 0;
    while (input_.size() < length)
      if (!receive()) return answer;
    answer.body = input_.substr(0, length);
    input_.erase(0, length);
    std::from_chars(answer.head.data() + 9, answer.head.data() + answer.head.size(), answer.status);
    return answer;
  }
  // The server has ended the connection, and sent nothing more. Waits.
  bool ended() {
    while (receive()) continue;
    return input_.empty();
  }

  HttpAnswer ask(const std::string& method, const std::string& target) {
    if (!send(method + ' ' + target + " HTTP/1.1\r\nHost: x\r\n\r\n")) return {};
    return read(method == "HEAD");
  }

 private:
  bool receive() {
    char bytes[65536];
    const auto got = ::recv(fd_, bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    input_.append(bytes, static_cast<std::size_t>(got));
    return true;
  }

  int fd_;
  int error_ = 0;
  std::string input_;
};

inline HttpAnswer http_get(const std::string& path, const std::string& target) {
  return HttpClient(path).ask("GET", target);
}
inline HttpAnswer http_post(const std::string& path, const std::string& target) {
  return HttpClient(path).ask("POST", target);
}

}  // namespace vmm::test
