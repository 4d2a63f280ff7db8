#include "support/memory_cgroup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace vmm::bench {
namespace {

std::uint64_t read_number(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  file >> value;
  return value;
}

// Folder of this process's own group; empty if there is none that counts memory.
std::string own_group() {
  std::ifstream file("/proc/self/cgroup");
  std::string line, version2;
  while (std::getline(file, line)) {
    const auto second = line.find(':') + 1, third = line.find(':', second) + 1;
    const auto controllers = line.substr(second, third - second - 1);
    const auto path = line.substr(third);
    if (controllers == "memory") return "/sys/fs/cgroup/memory" + path;
    if (controllers.empty()) version2 = "/sys/fs/cgroup" + path;
  }
  return version2;
}

}  // namespace

std::unique_ptr<MemoryCgroup> MemoryCgroup::create(std::string& reason) {
  const auto parent = own_group();
  std::error_code ignored;
  if (parent.empty() || !std::filesystem::exists(parent, ignored)) {
    reason = "this process has no memory control group";
    return nullptr;
  }
  static unsigned made = 0;
  const auto path = parent + "/vmm-bench-" + std::to_string(::getpid()) + "-" + std::to_string(++made);
  if (::mkdir(path.c_str(), 0755) != 0) {
    reason = "mkdir " + path + ": " + std::strerror(errno);
    return nullptr;
  }
  auto group = std::make_unique<MemoryCgroup>(path, true);
  if (std::filesystem::exists(path + "/memory.max_usage_in_bytes", ignored) ||
      std::filesystem::exists(path + "/memory.peak", ignored))
    return group;
  reason = path + " does not count memory";
  return nullptr;
}

MemoryCgroup::~MemoryCgroup() {
  if (owned_) ::rmdir(path_.c_str());
}

bool MemoryCgroup::limit(std::uint64_t bytes) const {
  for (const char* name : {"/memory.max", "/memory.limit_in_bytes"})
    if (std::ofstream file(path_ + name, std::ios::in | std::ios::out); file)
      return static_cast<bool>(file << bytes << std::flush);
  return false;
}

void MemoryCgroup::enter() const { std::ofstream(path_ + "/cgroup.procs") << ::getpid() << std::flush; }

void MemoryCgroup::leave() const {
  std::ofstream(std::filesystem::path(path_).parent_path() / "cgroup.procs") << ::getpid() << std::flush;
}

bool MemoryCgroup::reclaim_all() const {
  // Version 1 has a button for it; version 2, from Linux 5.19, is told how much.
  if (std::ofstream button(path_ + "/memory.force_empty"); button) return static_cast<bool>(button << 0 << std::flush);
  std::ofstream amount(path_ + "/memory.reclaim");
  // An error says that not all of it could be reclaimed.
  amount << usage() << std::flush;
  return std::filesystem::exists(path_ + "/memory.reclaim");
}

std::uint64_t MemoryCgroup::usage() const {
  const auto value = read_number(path_ + "/memory.current");
  return value != 0 ? value : read_number(path_ + "/memory.usage_in_bytes");
}

std::uint64_t MemoryCgroup::peak() const {
  const auto value = read_number(path_ + "/memory.peak");
  return value != 0 ? value : read_number(path_ + "/memory.max_usage_in_bytes");
}

}  // namespace vmm::bench
