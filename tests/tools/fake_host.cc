#include "fake_host.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace fake {
namespace {

void check(bool good, const char* what) {
  if (good) return;
  std::perror(what);
  std::abort();
}

}  // namespace

Answer json_answer(const nlohmann::json& document, int status) { return {status, document.dump()}; }

FakeHost::FakeHost(std::string path, Handler handler) : path_(std::move(path)), handler_(std::move(handler)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  check(path_.size() < sizeof address.sun_path, "path of a socket");
  std::memcpy(address.sun_path, path_.data(), path_.size());
  ::unlink(path_.c_str());
  listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "bind");
  check(::listen(listener_, 16) == 0, "listen");
  end_ = ::eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this] { run(); });
}

FakeHost::~FakeHost() {
  const std::uint64_t one = 1;
  check(::write(end_, &one, sizeof one) == sizeof one, "eventfd");
  thread_.join();
  ::close(listener_);
  ::close(end_);
  ::unlink(path_.c_str());
}

std::vector<std::string> FakeHost::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void FakeHost::run() {
  for (;;) {
    std::array<pollfd, 2> waited{{{listener_, POLLIN, 0}, {end_, POLLIN, 0}}};
    ::poll(waited.data(), waited.size(), -1);
    if (waited[1].revents != 0) return;
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    serve(connection);
    ::close(connection);
  }
}

void FakeHost::serve(int connection) {
  std::string head;
  while (head.find("\r\n\r\n") == std::string::npos) {
    std::array<pollfd, 2> waited{{{connection, POLLIN, 0}, {end_, POLLIN, 0}}};
    ::poll(waited.data(), waited.size(), -1);
    if (waited[1].revents != 0) return;
    std::array<char, 4096> buffer{};
    const auto got = ::recv(connection, buffer.data(), buffer.size(), 0);
    if (got <= 0) return;
    head.append(buffer.data(), static_cast<std::size_t>(got));
  }
  const auto space = head.find(' ');
  const std::string method = head.substr(0, space);
  const std::string target = head.substr(space + 1, head.find(' ', space + 1) - space - 1);
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(method + " " + target);
  }
  const Answer answer = handler_(method, target);
  std::string text = answer.raw;
  if (text.empty() && !answer.hang)
    text = "HTTP/1.1 " + std::to_string(answer.status) +
           " As it is\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(answer.body.size()) +
           "\r\n\r\n" + answer.body;
  text.resize(std::min(text.size(), answer.cut));
  for (std::size_t sent = 0; sent < text.size();) {
    const auto more = ::send(connection, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (more <= 0) return;
    sent += static_cast<std::size_t>(more);
  }
  if (!answer.hang) return;
  // Until the client gives up, or the host ends.
  std::array<pollfd, 2> waited{{{connection, POLLRDHUP, 0}, {end_, POLLIN, 0}}};
  ::poll(waited.data(), waited.size(), -1);
}

}  // namespace fake
