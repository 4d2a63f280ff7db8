#include "find_hosts.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>

#include "text.h"

namespace vmmctl {
namespace {

constexpr const char* kHowToHaveOne =
    "a host is seen when it is created with HostOptions::stats_socket = \"/path/name.vmm\"";

// The next word of `line`, which is shortened by it.
std::string_view word(std::string_view& line) {
  const auto first = line.find_first_not_of(' ');
  if (first == std::string_view::npos) return line = {};
  line.remove_prefix(first);
  const auto end = std::min(line.find(' '), line.size());
  const auto found = line.substr(0, end);
  line.remove_prefix(end);
  return found;
}

std::optional<std::int64_t> process_id(const std::string& text) {
  std::int64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id <= 0) return std::nullopt;
  return id;
}

std::string list_of(const std::vector<FoundHost>& hosts) {
  std::string list;
  for (const FoundHost& host : hosts) list += "\n  " + describe(host);
  return list;
}

// It may answer later: whose process it is of is not known.
bool is_silent(const FoundHost& host) { return !host.info && host.info.error().kind == FailureKind::slow; }

}  // namespace

std::vector<std::string> host_sockets(std::string_view text) {
  std::vector<std::string> paths;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    // Num: RefCount Protocol Flags Type St Inode Path
    word(line);
    word(line);
    word(line);
    const auto flags = word(line);
    const auto type = word(line);
    word(line);
    word(line);
    if (line.size() < 2) continue;
    const std::string_view path = line.substr(1);  // it may contain spaces
    unsigned bits = 0;
    if (std::from_chars(flags.data(), flags.data() + flags.size(), bits, 16).ec != std::errc()) continue;
    constexpr unsigned kAccepts = 0x10000;
    if ((bits & kAccepts) == 0 || type != "0001" || path.front() != '/' || !path.ends_with(".vmm")) continue;
    paths.emplace_back(path);
  }
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  return paths;
}

std::vector<std::string> all_host_sockets(const std::function<std::string()>& look) {
  constexpr int kMostLooks = 10;
  std::vector<std::string> all = host_sockets(look());
  for (int looks = 1; looks < kMostLooks; ++looks) {
    const auto found = host_sockets(look());
    std::vector<std::string> both;
    std::set_union(all.begin(), all.end(), found.begin(), found.end(), std::back_inserter(both));
    if (both.size() == all.size()) break;
    all = std::move(both);
  }
  return all;
}

std::vector<FoundHost> find_hosts() {
  const auto look = [] {
    std::ifstream file("/proc/net/unix");
    return std::string{std::istreambuf_iterator<char>(file), {}};
  };
  std::vector<FoundHost> hosts;
  Limits limits;
  limits.timeout = std::chrono::seconds(1);
  for (const std::string& path : all_host_sockets(look)) {
    // What others have made is no host of this user, whatever it says.
    struct stat there {};
    if (::lstat(path.c_str(), &there) != 0) continue;
    if (there.st_uid != ::geteuid() && there.st_uid != 0 && ::geteuid() != 0) continue;
    hosts.push_back({path, HostClient(path, limits).info()});
  }
  return hosts;
}

std::string describe(const FoundHost& host) {
  const std::string path = printable(host.socket, terminal_charset());
  if (!host.info) return path + "  " + printable(host.info.error().message(), terminal_charset());
  return path + "  process " + std::to_string(host.info->pid) + ", libvmm " +
         printable(host.info->version, terminal_charset()) + (host.info->control ? ", control permitted" : "");
}

Result<std::string> choose_socket(const std::string& given, const std::vector<FoundHost>& hosts) {
  const auto those = [&](const auto& which) {
    std::vector<FoundHost> found;
    std::copy_if(hosts.begin(), hosts.end(), std::back_inserter(found), which);
    return found;
  };
  constexpr const char* kNameOne = "name one socket with --socket";
  if (const auto id = process_id(given)) {
    const auto of_process = those([&](const FoundHost& host) { return host.info && host.info->pid == *id; });
    if (of_process.size() == 1) return of_process.front().socket;
    const std::string process = "process " + given;
    if (!of_process.empty())
      return fail(FailureKind::usage, process + " has several hosts:" + list_of(of_process), kNameOne);
    if (const auto silent = those(is_silent); !silent.empty())
      return fail(FailureKind::usage,
                  process + " is none of the hosts that have answered; these have not:" + list_of(silent), kNameOne);
    return fail(FailureKind::usage, process + " serves no socket that ends in .vmm", kHowToHaveOne);
  }
  const auto meant = those([](const FoundHost& host) { return host.info || is_silent(host); });
  if (meant.size() == 1 && meant.front().info) return meant.front().socket;
  if (meant.size() > 1) return fail(FailureKind::usage, "several hosts run:" + list_of(meant), kNameOne);
  if (!hosts.empty()) return fail(FailureKind::usage, "no host can be asked:" + list_of(hosts));
  return fail(FailureKind::usage, "no host of libvmm runs here", kHowToHaveOne);
}

Result<std::string> resolve_socket(const std::string& given) {
  if (!given.empty() && !process_id(given)) return given;
  if (given.empty()) {
    const char* named = std::getenv("VMM_SOCKET");
    if (named != nullptr && *named != '\0') return std::string(named);
  }
  return choose_socket(given, find_hosts());
}

}  // namespace vmmctl
