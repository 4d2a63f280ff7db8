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

std::vector<FoundHost> find_hosts() {
  std::ifstream file("/proc/net/unix");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::vector<FoundHost> hosts;
  Limits limits;
  limits.timeout = std::chrono::seconds(1);
  for (const std::string& path : host_sockets(text)) {
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
  if (const auto id = process_id(given)) {
    std::vector<std::string> of_process;
    for (const FoundHost& host : hosts)
      if (host.info && host.info->pid == *id) of_process.push_back(host.socket);
    if (of_process.size() == 1) return of_process.front();
    if (of_process.empty())
      return fail(FailureKind::usage, "process " + given + " serves no socket that ends in .vmm", kHowToHaveOne);
    return fail(FailureKind::usage, "process " + given + " has several hosts:" + list_of(hosts),
                "name one socket with --socket");
  }
  std::vector<FoundHost> asked;
  std::copy_if(hosts.begin(), hosts.end(), std::back_inserter(asked), [](const auto& host) { return bool(host.info); });
  if (asked.size() == 1) return asked.front().socket;
  if (asked.size() > 1)
    return fail(FailureKind::usage, "several hosts run:" + list_of(asked), "name one socket with --socket");
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
