#include "host/http.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "host/text_out.h"

namespace vmm::host {
namespace {

const char* reason_of(int status) noexcept {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Error";
  }
}

bool equal(std::string_view a, std::string_view b) noexcept {  // but for case
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

// Up to `end`, which is taken off as well; all of it where there is none.
std::string_view take(std::string_view& text, char end) noexcept {
  const auto at = std::min(text.find(end), text.size());
  const auto part = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return part;
}

// What a field's name and value may not hold (RFC 9110, 5.1 and 5.5): a proxy might take it for something else.
bool breaks_name(char c) noexcept { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; }
bool breaks_value(char c) noexcept { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; }

// What the fields of a head say of its request.
class HttpFields {
 public:
  // Returns a status, 0 where the line is good.
  int add(std::string_view line) {
    if (line.find(':') == std::string_view::npos) return 400;
    const auto name = take(line, ':'), value = trimmed(line);
    if (name.empty() || std::any_of(name.begin(), name.end(), breaks_name)) return 400;
    if (std::any_of(value.begin(), value.end(), breaks_value)) return 400;
    if (equal(name, "Transfer-Encoding")) return 501;
    if (equal(name, "Content-Length")) return set_length(value);
    if (equal(name, "Connection")) set_connection(value);
    return 0;
  }
  std::uint64_t length() const noexcept { return length_.value_or(0); }
  bool keep_alive(bool unless_said) const noexcept { return !close_ && (keep_ || unless_said); }

 private:
  int set_length(std::string_view value) {
    if (length_) return 400;  // who reads the other one sees another end of the request
    std::uint64_t length = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (error == std::errc::result_out_of_range) return 413;
    if (error != std::errc() || end != value.data() + value.size()) return 400;
    length_ = length;
    return 0;
  }
  void set_connection(std::string_view list) {
    while (!list.empty()) {
      const auto option = trimmed(take(list, ','));
      close_ |= equal(option, "close");
      keep_ |= equal(option, "keep-alive");
    }
  }

  std::optional<std::uint64_t> length_;
  bool close_ = false, keep_ = false;
};

int digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// GET /path?name=value HTTP/1.1. Returns a status, 0 where it is good.
int parse_first_line(std::string_view line, HttpRequest& request) {
  const auto method = take(line, ' ');
  auto target = take(line, ' ');
  if (method.empty() || target.empty() || target.front() != '/') return 400;
  if (line.substr(0, 5) != "HTTP/") return 400;
  if (line != "HTTP/1.1" && line != "HTTP/1.0") return 505;
  request.keep_alive = line == "HTTP/1.1";
  request.method = method;
  const auto path = percent_decoded(take(target, '?'));
  if (!path) return 400;
  request.path = *path;
  while (!target.empty()) {
    auto pair = take(target, '&');
    if (pair.empty()) continue;
    const auto name = percent_decoded(take(pair, '=')), value = percent_decoded(pair);
    // A name that comes twice has no one value.
    if (!name || !value || !request.query.emplace(*name, *value).second) return 400;
  }
  return 0;
}

}  // namespace

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? digit(text[i + 1]) : -1;
    const int low = high >= 0 ? digit(text[i + 2]) : -1;
    if (low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

HttpParsed parse_http(std::string_view bytes) {
  HttpParsed parsed;
  const auto refuse = [&](int status) {
    parsed.error = status;
    parsed.taken = bytes.size();
    return parsed;
  };
  // Lines end in \r\n, or, from people, in \n. Empty ones before the first are none of the request (RFC 9112, 2.2).
  const auto first = std::min(bytes.find_first_not_of("\r\n"), bytes.size());
  const auto last = std::min(bytes.find("\n\r\n", first), bytes.find("\n\n", first));
  if (last == std::string_view::npos || last > kMostHttpHead) {
    if (bytes.size() > kMostHttpHead) return refuse(431);
    // What cannot become a request is refused at once: it might wait for an answer.
    const auto begin = bytes.substr(first, 16);
    const auto odd = [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\r' && c != '\n'; };
    return std::any_of(begin.begin(), begin.end(), odd) ? refuse(400) : parsed;
  }
  const auto head_bytes = last + (bytes[last + 1] == '\r' ? 3 : 2);
  auto head = bytes.substr(first, last - first);
  HttpRequest request;
  if (const int status = parse_first_line(trimmed(take(head, '\n')), request)) return refuse(status);
  HttpFields fields;
  while (!head.empty())
    if (const int status = fields.add(take(head, '\n'))) return refuse(status);
  request.keep_alive = fields.keep_alive(request.keep_alive);
  if (fields.length() > kMostHttpBody) return refuse(413);
  if (bytes.size() - head_bytes < fields.length()) return parsed;
  parsed.taken = head_bytes + static_cast<std::size_t>(fields.length());
  parsed.request = std::move(request);
  return parsed;
}

std::string http_head(const HttpReply& reply, bool keep_alive) {
  std::string out;
  out += "HTTP/1.1 ";
  append(out, reply.status);
  out += ' ';
  out += reason_of(reply.status);
  out += "\r\nContent-Type: " + reply.type + "\r\nContent-Length: ";
  append(out, reply.body.size());
  if (!reply.allow.empty()) out += "\r\nAllow: " + reply.allow;
  out += "\r\nCache-Control: no-store\r\nConnection: ";
  out += keep_alive ? "keep-alive" : "close";
  out += "\r\n\r\n";
  return out;
}

}  // namespace vmm::host
