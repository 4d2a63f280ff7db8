// Reading the fields of /proc and /sys texts.
// Thread-safety: pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace vmm::os {

// What follows `name` on the first line that begins with it, without the colon and blanks between; empty if
// there is no such line. "MemTotal" finds "MemTotal:  4096 kB" and gives "4096 kB".
inline std::string_view field_of(std::string_view text, std::string_view name) noexcept {
  while (!text.empty()) {
    const auto end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.substr(0, name.size()) != name) continue;
    line.remove_prefix(name.size());
    if (line.empty() || (line.front() != ':' && line.front() != ' ' && line.front() != '\t')) continue;
    const auto value = line.find_first_not_of(": \t");
    return value == std::string_view::npos ? std::string_view() : line.substr(value);
  }
  return {};
}

// The decimal number a text begins with; none if it begins with something else or overflows.
inline std::optional<std::uint64_t> number_of(std::string_view text) noexcept {
  std::uint64_t value = 0;
  std::size_t digits = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    const auto digit = static_cast<std::uint64_t>(text[digits] - '0');
    if (value > (UINT64_MAX - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return digits > 0 ? std::optional<std::uint64_t>(value) : std::nullopt;
}

}  // namespace vmm::os
