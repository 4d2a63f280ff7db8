#include "os/memory_limit.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "os/file.h"
#include "os/node_info.h"
#include "os/proc_text.h"

namespace vmm::os {
namespace {

// Version 1 writes "no limit" as the greatest page count a long holds, in bytes.
constexpr std::uint64_t kVersion1Unlimited = std::uint64_t{1} << 62;

std::string_view next_line(std::string_view& text) {
  const auto end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  return line;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool contains(std::string_view list, std::string_view word) {
  const auto words = split(list, ',');
  return std::find(words.begin(), words.end(), word) != words.end();
}

// mountinfo writes blanks and backslashes as three octal digits after a backslash.
std::string unescape(std::string_view text) {
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) && octal(text[i + 3])) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

struct Mount {
  std::string root;   // the group that is mounted
  std::string point;  // where
};

// The mount of version 2, or of version 1's memory controller.
std::optional<Mount> find_mount(std::string_view mountinfo, bool v2) {
  while (!mountinfo.empty()) {
    const std::string_view line = next_line(mountinfo);
    const auto dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const auto before = split(line.substr(0, dash), ' ');
    const auto after = split(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    const bool wanted = v2 ? after[0] == "cgroup2" : after[0] == "cgroup" && contains(after[2], "memory");
    if (wanted) return Mount{unescape(before[3]), unescape(before[4])};
  }
  return std::nullopt;
}

// The path of this process's group in version 2 ("0::/path") or in version 1's memory controller.
std::optional<std::string> group_path(std::string_view self_cgroup, bool v2) {
  while (!self_cgroup.empty()) {
    const std::string_view line = next_line(self_cgroup);
    const auto first = line.find(':');
    const auto second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const bool wanted = v2 ? line.substr(0, first) == "0" && controllers.empty() : contains(controllers, "memory");
    if (wanted) return std::string(line.substr(second + 1));
  }
  return std::nullopt;
}

void add_folders(std::vector<CgroupFolder>& folders, const Mount& mount, std::string path, bool v2) {
  // Below the group that is mounted; a path outside of it ("/../x", another container's) shows the mount alone.
  if (mount.root != "/") {
    const bool inside = path.compare(0, mount.root.size(), mount.root) == 0 &&
                        (path.size() == mount.root.size() || path[mount.root.size()] == '/');
    path = inside ? path.substr(mount.root.size()) : std::string();
  }
  if (path.compare(0, 3, "/..") == 0) path.clear();
  while (!path.empty() && path.back() == '/') path.pop_back();
  while (!path.empty()) {
    folders.push_back({mount.point + path, v2});
    const auto slash = path.rfind('/');
    path.resize(slash == std::string::npos ? 0 : slash);
  }
  folders.push_back({mount.point, v2});
}

std::string read_or_empty(const std::string& path) {
  auto text = read_small_file(path);
  return text ? *std::move(text) : std::string();
}

void take_if_smaller(MemoryLimit& least, std::optional<std::uint64_t> limit, const std::string& folder,
                     const char* file, const char* used) {
  if (!limit || *limit >= kVersion1Unlimited || (least.cgroup != 0 && *limit >= least.cgroup)) return;
  // A limit of 0 would read as none; nothing runs in such a group but to be killed.
  least.cgroup = std::max<std::uint64_t>(*limit, 1);
  least.cgroup_source = folder + "/" + file;
  least.cgroup_used = number_of(read_or_empty(folder + "/" + used)).value_or(0);
}

}  // namespace

std::vector<CgroupFolder> cgroup_memory_folders(std::string_view self_cgroup, std::string_view mountinfo) {
  std::vector<CgroupFolder> folders;
  for (const bool v2 : {true, false}) {
    const auto mount = find_mount(mountinfo, v2);
    auto path = group_path(self_cgroup, v2);
    if (mount && path) add_folders(folders, *mount, *std::move(path), v2);
  }
  return folders;
}

MemoryLimit smallest_cgroup_limit(const std::vector<CgroupFolder>& folders) {
  MemoryLimit least;
  for (const auto& [path, v2] : folders) {
    if (v2) {
      for (const char* file : {"memory.max", "memory.high"})
        take_if_smaller(least, number_of(read_or_empty(path + "/" + file)), path, file, "memory.current");
    } else {
      const char* file = "memory.limit_in_bytes";
      take_if_smaller(least, number_of(read_or_empty(path + "/" + file)), path, file, "memory.usage_in_bytes");
      const std::string stat = read_or_empty(path + "/memory.stat");
      take_if_smaller(least, number_of(field_of(stat, "hierarchical_memory_limit")), path, "memory.stat",
                      "memory.usage_in_bytes");
    }
  }
  if (least.cgroup != 0) {
    const auto folder = least.cgroup_source.substr(0, least.cgroup_source.rfind('/'));
    const std::string stat = read_or_empty(folder + "/memory.stat");
    for (const char* lru : {"inactive_file", "active_file"}) {
      // Version 1 counts the groups below under names of their own.
      const auto with_children = number_of(field_of(stat, std::string("total_") + lru));
      least.cgroup_cache += with_children ? *with_children : number_of(field_of(stat, lru)).value_or(0);
    }
  }
  return least;
}

MemoryLimit memory_limit() {
  MemoryLimit limit = smallest_cgroup_limit(
      cgroup_memory_folders(read_or_empty("/proc/self/cgroup"), read_or_empty("/proc/self/mountinfo")));
  if (const auto machine = machine_memory()) limit.machine = *machine;
  return limit;
}

}  // namespace vmm::os
