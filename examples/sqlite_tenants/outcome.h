// Outcome<T>: a value, or a sentence that says what went wrong. And format(): printf into a string.
// Thread-safety: plain values.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace tenants {

template <class T>
using Outcome = tl::expected<T, std::string>;

inline tl::unexpected<std::string> fail(std::string what) { return tl::unexpected<std::string>(std::move(what)); }

__attribute__((format(printf, 1, 2))) inline std::string format(const char* pattern, ...) {
  std::va_list arguments;
  va_start(arguments, pattern);
  std::va_list again;
  va_copy(again, arguments);
  const int length = std::vsnprintf(nullptr, 0, pattern, arguments);
  va_end(arguments);
  std::string text(length > 0 ? static_cast<std::size_t>(length) : 0, '\0');
  std::vsnprintf(text.data(), text.size() + 1, pattern, again);
  va_end(again);
  return text;
}

}  // namespace tenants
