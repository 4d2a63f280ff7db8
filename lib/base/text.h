// Figures as text, for reasons, events and errors; and the kernel's lists of numbers.
// Thread-safety: pure; they allocate, so fault threads do not use them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vmm::base {

// "4 GiB", "1.5 MiB", "100 bytes": the greatest binary unit that gives at least 1, one decimal where inexact.
std::string bytes_text(std::uint64_t bytes);

// "0,2,5" for reasons; "none" for an empty list.
std::string list_text(const std::vector<int>& numbers);

// The kernel's way to write sets, as "0-3,8\n": ascending numbers. An empty text is an empty set; none if the
// text is no such list or holds more than a million numbers.
std::optional<std::vector<int>> parse_list(std::string_view text);

}  // namespace vmm::base
