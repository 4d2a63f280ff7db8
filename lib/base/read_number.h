// Numbers as people and programs write them.
// Thread-safety: pure.
#pragma once

#include <charconv>
#include <string_view>
#include <system_error>

namespace vmm::base {

// The number that the text is, all of it. False: it is none, or too large; then `number` may have changed.
template <class Number>
bool read_number(std::string_view text, Number& number) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace vmm::base
