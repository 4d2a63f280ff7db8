#include "json_text.h"

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace vmmctl {

std::string json_text(const nlohmann::json& document, int indent) {
  const std::string text = document.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  std::string safe;
  safe.reserve(text.size());
  // These stand in strings only: all else that JSON consists of is printable.
  const auto escaped = [&](unsigned code) {
    std::array<char, 8> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "\\u%04x", code);
    safe += buffer.data();
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (byte(i) == 0x7F)
      escaped(0x7F);
    else if (byte(i) == 0xC2 && i + 1 < text.size() && byte(i + 1) < 0xA0)
      escaped(byte(++i));
    else
      safe += text[i];
  }
  return safe;
}

}  // namespace vmmctl
