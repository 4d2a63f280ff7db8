#include "settings.h"

#include <charconv>
#include <string_view>

namespace vmm::run {
namespace {

void add(std::string& text, std::string_view name, std::string_view value) {
  text.append(name).append("=").append(value).append("\n");
}

bool read(std::string_view text, std::uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool read(std::string_view text, bool& value) {
  value = text == "1";
  return text == "0" || text == "1";
}

bool set(Settings& s, std::string_view name, std::string_view value) {
  if (name == "memory") return read(value, s.memory);
  if (name == "size") return read(value, s.size);
  if (name == "swap_directory") return s.swap_directory = value, true;
  if (name == "stats_socket") return s.stats_socket = value, true;
  if (name == "stats_control") return read(value, s.stats_control);
  if (name == "mmap_threshold") return read(value, s.mmap_threshold);
  if (name == "report_at_exit") return read(value, s.report_at_exit);
  if (name == "children") return read(value, s.children);
  if (name == "accept_baseline") return read(value, s.accept_baseline);
  if (name == "library") return s.library = value, true;
  if (name == "former_preload") return s.former_preload = value, true;
  return false;
}

}  // namespace

std::string to_text(const Settings& s) {
  const auto flag = [](bool on) { return on ? "1" : "0"; };
  std::string text;
  add(text, "memory", std::to_string(s.memory));
  add(text, "size", std::to_string(s.size));
  add(text, "swap_directory", s.swap_directory);
  add(text, "stats_socket", s.stats_socket);
  add(text, "stats_control", flag(s.stats_control));
  add(text, "mmap_threshold", std::to_string(s.mmap_threshold));
  add(text, "report_at_exit", flag(s.report_at_exit));
  add(text, "children", flag(s.children));
  add(text, "accept_baseline", flag(s.accept_baseline));
  add(text, "library", s.library);
  if (s.former_preload) add(text, "former_preload", *s.former_preload);
  return text;
}

std::optional<Settings> parse_settings(const std::string& text) {
  Settings settings;
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    const auto line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    if (!set(settings, line.substr(0, equals), line.substr(equals + 1))) return std::nullopt;
  }
  return settings;
}

std::string with_process_id(const std::string& path, std::int64_t process) {
  std::string result;
  for (std::size_t at = 0; at < path.size(); ++at) {
    if (path.compare(at, 2, "%p") == 0) {
      result += std::to_string(process);
      ++at;
    } else {
      result += path[at];
    }
  }
  return result;
}

}  // namespace vmm::run
