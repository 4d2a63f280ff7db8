#include "base/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdio>

#include "vmm/units.h"

namespace vmm::base {

std::string bytes_text(std::uint64_t bytes) {
  static constexpr std::array<const char*, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < KiB) return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes");
  std::uint64_t size = KiB;
  std::size_t unit = 0;
  while (unit + 1 < kUnits.size() && bytes / size >= 1024) {
    size *= 1024;
    ++unit;
  }
  char text[32];
  if (bytes % size == 0)
    std::snprintf(text, sizeof text, "%llu %s", static_cast<unsigned long long>(bytes / size), kUnits[unit]);
  else
    std::snprintf(text, sizeof text, "%.1f %s", static_cast<double>(bytes) / static_cast<double>(size), kUnits[unit]);
  return text;
}

std::string list_text(const std::vector<int>& numbers) {
  if (numbers.empty()) return "none";
  std::string text;
  for (const int number : numbers) {
    if (!text.empty()) text += ',';
    text += std::to_string(number);
  }
  return text;
}

std::optional<std::vector<int>> parse_list(std::string_view text) {
  static constexpr std::size_t kMostNumbers = 1'000'000;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  std::vector<int> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    int first = 0;
    auto parsed = std::from_chars(at, end, first);
    if (parsed.ec != std::errc() || first < 0) return std::nullopt;
    at = parsed.ptr;
    int last = first;
    if (at != end && *at == '-') {
      parsed = std::from_chars(at + 1, end, last);
      if (parsed.ec != std::errc() || last < first) return std::nullopt;
      at = parsed.ptr;
    }
    if (static_cast<std::size_t>(last - first) >= kMostNumbers - numbers.size()) return std::nullopt;
    for (int number = first; number <= last; ++number) numbers.push_back(number);
    if (at == end) break;
    if (*at != ',' || at + 1 == end) return std::nullopt;
    ++at;
  }
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  return numbers;
}

}  // namespace vmm::base
