#include "text.h"

#include <langinfo.h>
#include <wchar.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <sstream>
#include <vector>

namespace vmmctl {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

// Takes one code point off the front of `text`; kReplacement and one byte where there is none.
char32_t next_code_point(std::string_view& text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  std::size_t length = 1;
  char32_t value = first;
  char32_t least = 0;
  if (first >= 0xF0 && first < 0xF8) {
    length = 4;
    value = first & 0x07;
    least = 0x10000;
  } else if (first >= 0xE0 && first < 0xF0) {
    length = 3;
    value = first & 0x0F;
    least = 0x800;
  } else if (first >= 0xC0 && first < 0xE0) {
    length = 2;
    value = first & 0x1F;
    least = 0x80;
  }
  bool good = first < 0x80 || length > 1;
  if (length > text.size()) good = false;
  for (std::size_t i = 1; good && i < length; ++i) {
    good = (byte(i) & 0xC0) == 0x80;
    value = (value << 6) | (byte(i) & 0x3FU);
  }
  if (!good || value < least || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
    text.remove_prefix(1);
    return kReplacement;
  }
  text.remove_prefix(length);
  return value;
}

// Of C0 and C1, which terminals obey.
bool is_control(char32_t c) { return c < 0x20 || (c >= 0x7F && c < 0xA0); }

// -1: not to be shown.
int columns(char32_t c) {
  if (is_control(c)) return -1;
  return c < 0x7F ? 1 : ::wcwidth(static_cast<wchar_t>(c));
}

std::string formatted(const char* format, double value) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, value);
  return buffer.data();
}

// Three digits that say something.
std::string three_digits(double value) {
  return formatted(value < 9.995 ? "%.2f" : value < 99.95 ? "%.1f" : "%.0f", value);
}

}  // namespace

Charset terminal_charset() {
  return std::strcmp(::nl_langinfo(CODESET), "UTF-8") == 0 ? Charset::utf8 : Charset::ascii;
}

void append_utf8(std::string& text, char32_t c) {
  const auto add = [&](char32_t byte) { text += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (c < 0x80) {
    add(c);
  } else if (c < 0x800) {
    add(0xC0 | (c >> 6));
    add(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    add(0xE0 | (c >> 12));
    add(0x80 | ((c >> 6) & 0x3F));
    add(0x80 | (c & 0x3F));
  } else {
    add(0xF0 | (c >> 18));
    add(0x80 | ((c >> 12) & 0x3F));
    add(0x80 | ((c >> 6) & 0x3F));
    add(0x80 | (c & 0x3F));
  }
}

std::string valid_utf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) append_utf8(valid, next_code_point(text));
  return valid;
}

std::string plain_ascii(std::string_view text) {
  std::string plain(text);
  for (char& c : plain)
    if (c < 0x20 || c > 0x7E) c = '?';
  return plain;
}

std::string printable(std::string_view text, Charset charset) {
  std::string shown;
  while (!text.empty()) {
    const char32_t c = next_code_point(text);
    if (charset == Charset::ascii) {
      shown += c >= 0x20 && c < 0x7F ? static_cast<char>(c) : '?';
      continue;
    }
    const int width = columns(c);
    if (width > 0)
      append_utf8(shown, c);
    else if (width < 0)
      append_utf8(shown, kReplacement);
  }
  return shown;
}

std::string percent_escaped(std::string_view text, std::string_view also) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string safe;
  while (!text.empty()) {
    const char32_t c = next_code_point(text);
    std::string bytes;
    append_utf8(bytes, c);
    const bool plain = !is_control(c) && c != '%' && (c >= 0x80 || also.find(static_cast<char>(c)) == also.npos);
    for (const char byte : bytes) {
      const auto value = static_cast<unsigned char>(byte);
      if (plain)
        safe += byte;
      else
        safe += {'%', kDigits[value >> 4], kDigits[value & 15]};
    }
  }
  return safe;
}

std::size_t width_of(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const int more = columns(next_code_point(text));
    if (more > 0) width += static_cast<std::size_t>(more);
  }
  return width;
}

std::string fitted(std::string_view text, std::size_t width, Align align, Charset charset) {
  if (width == 0) return {};
  const std::size_t has = width_of(text);
  if (has <= width) {
    const std::string space(width - has, ' ');
    return align == Align::left ? std::string(text) + space : space + std::string(text);
  }
  std::string cut;
  std::size_t used = 0;
  while (!text.empty()) {
    std::string_view rest = text;
    const int more = columns(next_code_point(rest));
    if (used + static_cast<std::size_t>(more > 0 ? more : 0) > width - 1) break;
    used += static_cast<std::size_t>(more > 0 ? more : 0);
    cut.append(text.substr(0, text.size() - rest.size()));
    text = rest;
  }
  cut += charset == Charset::utf8 ? "…" : "~";
  return cut + std::string(width - 1 - used, ' ');
}

std::string wrapped(const std::string& text, const std::string& indent, std::size_t width) {
  std::istringstream words(text);
  std::string result;
  std::string line;
  for (std::string word; words >> word;) {
    if (!line.empty() && indent.size() + width_of(line) + 1 + width_of(word) > width) {
      result += indent + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return line.empty() ? result : result + indent + line + "\n";
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::string_view kUnits = "KMGTPE";
  if (bytes < 1024) return std::to_string(bytes);
  auto value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  // 1023.6 would be written with four digits.
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  const std::string digits =
      value == std::floor(value) && value >= 100 ? formatted("%.0f", value) : three_digits(value);
  return digits + kUnits[unit];
}

std::string rate_text(double bytes_per_second) {
  return bytes_text(bytes_per_second < 0 ? 0 : static_cast<std::uint64_t>(std::llround(bytes_per_second)));
}

std::string count_text(double value) {
  if (value <= 0) return "0";
  if (value < 9999.5) {
    const bool whole = value == std::floor(value) || value >= 99.95;
    return whole ? formatted("%.0f", value) : three_digits(value);
  }
  for (const char unit : {'k', 'M', 'G', 'T'}) {
    value /= 1000;
    if (value < 999.5) return three_digits(value) + unit;
  }
  return formatted("%.3g", value) + "T";
}

std::string duration_text(std::uint64_t nanoseconds) {
  auto value = static_cast<double>(nanoseconds);
  for (const char* unit : {" ns", " us", " ms"}) {
    if (value < 999.5) return (value == std::floor(value) ? formatted("%.0f", value) : three_digits(value)) + unit;
    value /= 1000;
  }
  return three_digits(value) + " s";
}

std::string percent_text(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) return "-";
  return formatted("%.0f %%", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string clock_text(std::int64_t wall_time_ms) {
  const auto seconds = static_cast<std::time_t>(wall_time_ms / 1000);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  std::array<char, 32> buffer{};
  std::strftime(buffer.data(), buffer.size(), "%H:%M:%S", &local);
  return buffer.data();
}

}  // namespace vmmctl
