#include "host/text_out.h"

#include <algorithm>
#include <cmath>

namespace vmm::host {
namespace {

// Bytes of the character that begins `text`; 0: none does (RFC 3629).
std::size_t character(std::string_view text) noexcept {
  const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto follows = [&](std::size_t i) { return (at(i) & 0xc0U) == 0x80U; };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return follows(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    if (!follows(1) || !follows(2)) return 0;
    if (lead == 0xe0 && at(1) < 0xa0) return 0;  // could be shorter
    if (lead == 0xed && at(1) > 0x9f) return 0;  // a surrogate
    return 3;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    if (lead == 0xf0 && at(1) < 0x90) return 0;
    if (lead == 0xf4 && at(1) > 0x8f) return 0;  // beyond the last one
    return 4;
  }
  return 0;
}

// U+EF80 to U+EFFF, which stand for bytes.
bool stands_for_byte(std::string_view text) noexcept {
  return text[0] == '\xee' && static_cast<unsigned char>(text[1]) >= 0xbe;
}

}  // namespace

char* write_number(char* at, double value) {
  if (!std::isfinite(value)) value = 0;
  return std::to_chars(at, at + kNumber, value).ptr;
}

void append(std::string& out, double value) {
  char text[kNumber];
  out.append(text, static_cast<std::size_t>(write_number(text, value) - text));
}

char* write_decimal(char* at, std::uint64_t value, int digits) {
  char fraction[20];
  int used = 0;  // of its digits, from the last that is not 0 on
  for (int i = digits - 1; i >= 0; --i, value /= 10) {
    fraction[i] = static_cast<char>('0' + value % 10);
    if (used == 0 && fraction[i] != '0') used = i + 1;
  }
  at = std::to_chars(at, at + kNumber, value).ptr;
  if (used == 0) return at;
  *at++ = '.';
  return std::copy_n(fraction, used, at);
}

void append_utf8(std::string& out, std::string_view name) {
  while (!name.empty()) {
    const auto length = character(name);
    if (length == 0 || (length == 3 && stands_for_byte(name))) {
      const auto byte = static_cast<unsigned char>(name[0]);  // 0x80 at least
      out += '\xee';
      out += static_cast<char>(0xbcU + (byte >> 6U));
      out += static_cast<char>(0x80U | (byte & 0x3fU));
      name.remove_prefix(1);
    } else {
      out.append(name.substr(0, length));
      name.remove_prefix(length);
    }
  }
}

std::string utf8(std::string_view name) {
  std::string out;
  append_utf8(out, name);
  return out;
}

void append_json(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : utf8(text)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += kHex[byte >> 4U];
      out += kHex[byte & 0xfU];
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_label(std::string& out, std::string_view text) {
  for (const char c : utf8(text)) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
}

void append_csv(std::string& out, std::string_view text) {
  const auto name = utf8(text);
  if (name.find_first_of(",\"\r\n") == std::string::npos) {
    out += name;
    return;
  }
  out += '"';
  for (const char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

}  // namespace vmm::host
