// Text for machines: numbers, and names with bytes of any kind, as JSON, Prometheus and CSV have them.
// Thread-safety: pure; they allocate.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace vmm::host {

// Whole numbers, exactly.
template <class Number>
requires std::is_integral_v<Number>
void append(std::string& out, Number value) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, static_cast<std::size_t>(end - digits));
}
// The shortest text that reads as the same; what is no number becomes 0.
void append(std::string& out, double value);

// Most that a number takes as text.
inline constexpr std::size_t kNumber = 48;
// To `at`, where there is room for kNumber bytes; the end is returned. The number as append() has it; and a count of
// 1/10^digits as a decimal number, exactly: 1500 with 3 digits is 1.5.
char* write_number(char* at, double value);
char* write_decimal(char* at, std::uint64_t value, int digits);

// The name as UTF-8. Bytes that are part of no character, and those of U+EF80 to U+EFFF, become U+EF00 + byte each, so
// that different names stay different.
void append_utf8(std::string& out, std::string_view name);
std::string utf8(std::string_view name);

// In quotes, escaped.
void append_json(std::string& out, std::string_view text);
// Between quotes; without them.
void append_label(std::string& out, std::string_view text);
// Quoted where that is needed.
void append_csv(std::string& out, std::string_view text);

}  // namespace vmm::host
