#include "control.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "http.h"
#include "text.h"

namespace vmmctl {
namespace {

constexpr std::array kSizes{"limit", "reservation", "balloon_max", "memory"};
// Members of answers that are bytes.
constexpr std::array kByteMembers{"bytes", "scanned", "shared", "zero", "broken", "saved", "looked"};

template <class List>
bool is_one_of(const List& list, const std::string& name) {
  return std::any_of(list.begin(), list.end(), [&](const char* other) { return name == other; });
}

}  // namespace

Result<std::uint64_t> parse_bytes(const std::string& text) {
  const auto wrong = [&] {
    return fail(FailureKind::usage, "size '" + printable(text, terminal_charset()) + "': not a size",
                "write bytes, or a number with K, M, G or T, powers of 1024");
  };
  if (text.empty() || text.find_first_not_of("0123456789.KMGTiBkmgtb") != std::string::npos) return wrong();
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  std::string unit(end);
  if (end == text.c_str()) return wrong();
  std::transform(unit.begin(), unit.end(), unit.begin(), [](char c) { return c >= 'a' ? char(c - 'a' + 'A') : c; });
  double factor = 1;
  if (!unit.empty() && unit != "B") {
    const auto power = std::string_view("KMGT").find(unit[0]);
    const std::string rest = unit.substr(1);
    if (power == std::string_view::npos || !(rest.empty() || rest == "B" || rest == "IB")) return wrong();
    factor = std::pow(1024.0, static_cast<double>(power + 1));
  } else if (text.find('.') == std::string::npos) {
    // Exact beyond what a double holds.
    errno = 0;
    const auto bytes = std::strtoull(text.c_str(), &end, 10);
    if (errno != 0) return wrong();
    return bytes;
  }
  const double bytes = number * factor;
  if (!(bytes >= 0 && bytes < 9.2e18)) return wrong();
  return static_cast<std::uint64_t>(std::llround(bytes));
}

std::string control_target(const std::string& verb, const std::vector<std::pair<std::string, std::string>>& values) {
  std::string target = "/control/" + verb;
  char separator = '?';
  for (const auto& [name, value] : values) {
    target += separator + percent_encoded(name) + "=" + percent_encoded(value);
    separator = '&';
  }
  return target;
}

Result<std::string> set_target(std::string guest, const std::vector<std::string>& words) {
  std::vector<std::pair<std::string, std::string>> values;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto equals = words[i].find('=');
    if (equals == std::string::npos || equals == 0) {
      if (i == 0 && guest.empty() && equals != 0) {
        guest = words[i];
        continue;
      }
      return fail(FailureKind::usage,
                  "'" + printable(words[i], terminal_charset()) + "' is not of the form field=value",
                  "for example: vmmctl set web limit=2G shares=4000");
    }
    std::string name = words[i].substr(0, equals);
    std::string value = words[i].substr(equals + 1);
    if (is_one_of(kSizes, name)) {
      const auto bytes = parse_bytes(value);
      if (!bytes) return fail(bytes.error().kind, name + ": " + bytes.error().what, bytes.error().remedy);
      value = std::to_string(*bytes);
    }
    values.emplace_back(std::move(name), std::move(value));
  }
  if (values.empty())
    return fail(FailureKind::usage, "nothing is to be set", "for example: vmmctl set web limit=2G shares=4000");
  if (!guest.empty()) values.insert(values.begin(), {"guest", guest});
  return control_target("set", values);
}

std::string control_text(const nlohmann::json& answer) {
  std::string text;
  if (answer.is_object()) {
    for (const auto& [name, value] : answer.items()) {
      if (name == "ok") continue;
      std::string shown = value.is_string() ? value.get<std::string>()
                                            : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
      if (is_one_of(kByteMembers, name) && value.is_number_unsigned())
        shown = bytes_text(value.get<std::uint64_t>()) + " (" + shown + " bytes)";
      text += printable(name, terminal_charset()) + ": " + printable(shown, terminal_charset()) + "\n";
    }
  }
  return text.empty() ? "done\n" : text;
}

}  // namespace vmmctl
