#include "http.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <system_error>

#include "descriptor.h"
#include "text.h"

namespace vmmctl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kHeadBytes = 64 << 10;

std::optional<std::size_t> number(std::string_view text) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool same_word(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

std::string errno_text(int number) { return std::generic_category().message(number); }

// A request that is under way.
class Exchange {
 public:
  Exchange(const std::string& path, const Limits& limits)
      : path_(path), limits_(limits), deadline_(Clock::now() + limits.timeout) {}

  Result<void> connect();
  Result<void> send(std::string_view text);
  Result<Response> receive();

 private:
  // Until the socket is ready for `events`; with 0, for a moment.
  Result<void> wait(short events, const char* doing);

  const std::string& path_;
  const Limits& limits_;
  const Clock::time_point deadline_;
  Descriptor socket_;
};

Result<void> Exchange::wait(short events, const char* doing) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    if (left <= 0)
      return fail(FailureKind::slow,
                  path_ + ": " + doing + " took more than " + std::to_string(limits_.timeout.count()) + " ms",
                  "the process behind it hangs, or it is no host of libvmm");
    std::array<pollfd, 2> waited{{{events != 0 ? socket_.get() : -1, events, 0}, {limits_.cancel, POLLIN, 0}}};
    constexpr int kMoment = 10;
    const int most = static_cast<int>(std::min<std::int64_t>(left, 60'000));
    const int ready = ::poll(waited.data(), waited.size(), events != 0 ? most : std::min(most, kMoment));
    if (ready < 0 && errno != EINTR) return fail(FailureKind::system, "poll: " + errno_text(errno));
    if (ready > 0 && waited[1].revents != 0) return fail(FailureKind::cancelled, "interrupted");
    if ((ready > 0 && waited[0].revents != 0) || (ready == 0 && events == 0)) return {};
  }
}

Result<void> Exchange::connect() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.empty() || path_.size() >= sizeof address.sun_path)
    return fail(FailureKind::usage,
                "socket '" + path_ + "': a path has 1 to " + std::to_string(sizeof address.sun_path - 1) + " bytes",
                "name it relative to the current directory");
  std::memcpy(address.sun_path, path_.data(), path_.size());
  socket_ = Descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket_.valid()) return fail(FailureKind::system, "socket: " + errno_text(errno));
  for (;;) {
    if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return {};
    switch (errno) {
      case EINTR: break;
      // Its queue of connections is full, and nothing tells when it is not.
      case EAGAIN:
        if (auto waited = wait(0, "connecting"); !waited) return waited;
        break;
      case ENOENT:
        return fail(FailureKind::gone, path_ + ": there is no such socket",
                    "is the host running, with HostOptions::stats_socket set?");
      case ECONNREFUSED:
        return fail(FailureKind::gone, path_ + ": nobody listens there", "the host that made it has ended");
      case EACCES:
      case EPERM:
        return fail(FailureKind::denied, path_ + ": " + errno_text(errno),
                    "only the user the host runs as, and root, may read its socket");
      case EPROTOTYPE: return fail(FailureKind::usage, path_ + ": is not a stream socket");
      default: return fail(FailureKind::system, path_ + ": " + errno_text(errno));
    }
  }
}

Result<void> Exchange::send(std::string_view text) {
  while (!text.empty()) {
    const auto sent = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      text.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (auto waited = wait(POLLOUT, "sending the request"); !waited) return waited;
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return {};  // it may have answered before it closed
    } else if (errno != EINTR) {
      return fail(FailureKind::system, path_ + ": " + errno_text(errno));
    }
  }
  return {};
}

Result<Response> Exchange::receive() {
  ResponseReader reader(limits_.body_bytes);
  std::string buffer(64 << 10, '\0');
  for (bool any = false;;) {
    const auto got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (got > 0) {
      any = true;
      auto whole = reader.feed(std::string_view(buffer).substr(0, static_cast<std::size_t>(got)));
      if (!whole) return fail(whole.error().kind, path_ + ": " + whole.error().what, whole.error().remedy);
      if (*whole) return reader.take();
      // One that never stops sending is not waited for either.
      if (Clock::now() < deadline_) continue;
      return fail(FailureKind::slow,
                  path_ + ": its answer took more than " + std::to_string(limits_.timeout.count()) + " ms");
    } else if (got == 0 || errno == ECONNRESET) {
      // A host that is crowded lets clients go; whether it is gone the next attempt tells.
      return fail(FailureKind::garbage,
                  path_ + (any ? ": the answer ends in the middle" : ": closed without an answer"));
    } else if (errno == EAGAIN) {
      if (auto waited = wait(POLLIN, "the answer"); !waited) return tl::unexpected(waited.error());
    } else if (errno != EINTR) {
      return fail(FailureKind::system, path_ + ": " + errno_text(errno));
    }
  }
}

}  // namespace

Result<void> ResponseReader::read_head(std::string_view head) {
  constexpr const char* kRemedy = "whatever listens there is no host of libvmm";
  auto line_end = head.find("\r\n");
  std::string_view line = head.substr(0, line_end);
  const std::size_t status = line.size() >= 12 ? number(line.substr(9, 3)).value_or(0) : 0;
  if (!line.starts_with("HTTP/1.") || status < 100 || line[8] != ' ')
    return fail(FailureKind::garbage,
                "the answer is not HTTP but begins with '" + plain_ascii(line.substr(0, 40)) + "'", kRemedy);
  response_.status = static_cast<int>(status);
  std::optional<std::size_t> length;
  while (line_end != std::string_view::npos) {
    head.remove_prefix(line_end + 2);
    line_end = head.find("\r\n");
    line = head.substr(0, line_end);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos || !same_word(line.substr(0, colon), "content-length")) continue;
    length = number(trimmed(line.substr(colon + 1)));
    if (!length) return fail(FailureKind::garbage, "the answer's Content-Length is no number", kRemedy);
  }
  if (!length) return fail(FailureKind::garbage, "the answer has no Content-Length", kRemedy);
  if (*length > most_)
    return fail(FailureKind::garbage,
                "an answer of " + std::to_string(*length) + " bytes is announced, and at most " +
                    std::to_string(most_) + " are read",
                kRemedy);
  expected_ = *length;
  return {};
}

Result<bool> ResponseReader::feed(std::string_view piece) {
  if (!in_body_) {
    head_.append(piece);
    // What cannot become an answer is not waited for.
    constexpr std::string_view kStart = "HTTP/1.";
    const auto known = std::min(head_.size(), kStart.size());
    const auto end = head_.find("\r\n\r\n");
    if (std::string_view(head_).substr(0, known) != kStart.substr(0, known) || end != std::string::npos) {
      if (auto read = read_head(std::string_view(head_).substr(0, end)); !read) return tl::unexpected(read.error());
    }
    if (end == std::string::npos) {
      if (head_.size() > kHeadBytes)
        return fail(FailureKind::garbage, "the answer's head is longer than " + std::to_string(kHeadBytes) + " bytes");
      return false;
    }
    in_body_ = true;
    response_.body = head_.substr(end + 4);
    head_.clear();
  } else {
    response_.body.append(piece);
  }
  if (response_.body.size() < expected_) return false;
  response_.body.resize(expected_);
  return true;
}

Result<Response> request(const std::string& socket_path, std::string_view method, const std::string& target,
                         const Limits& limits) {
  Exchange exchange(socket_path, limits);
  if (auto connected = exchange.connect(); !connected) return tl::unexpected(connected.error());
  std::string text(method);
  text += " " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
  if (method == "POST") text += "Content-Length: 0\r\n";
  text += "\r\n";
  if (auto sent = exchange.send(text); !sent) return tl::unexpected(sent.error());
  return exchange.receive();
}

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~' || c == '/';
    if (plain) {
      encoded += c;
    } else {
      encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return encoded;
}

}  // namespace vmmctl
