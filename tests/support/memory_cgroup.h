// MemoryCgroup: a fresh memory control group of version 1 or 2, removed with its owner. Processes enter it by
// themselves; they have left before it goes.
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <unistd.h>

namespace vmm::test {

class MemoryCgroup {
 public:
  MemoryCgroup() {
    const std::string name = "/libvmm-test." + std::to_string(::getpid());
    for (const bool v1 : {true, false}) {
      const std::string root = v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
      std::error_code error;
      if (!std::filesystem::exists(root + (v1 ? "/memory.limit_in_bytes" : "/cgroup.controllers"), error)) {
        why_not_ = "no memory control group is mounted";
        continue;
      }
      if (!std::filesystem::create_directory(root + name, error)) {
        why_not_ = "mkdir " + root + name + ": " + error.message();
        continue;
      }
      path_ = root + name;
      v1_ = v1;
      if (v1 || std::filesystem::exists(path_ + "/memory.max")) return;
      why_not_ = "the memory controller is not enabled in " + root;
      remove();
    }
  }
  ~MemoryCgroup() { remove(); }
  MemoryCgroup(const MemoryCgroup&) = delete;
  MemoryCgroup& operator=(const MemoryCgroup&) = delete;

  // Empty if the group is there.
  std::string why_not() const { return path_.empty() ? why_not_ : std::string(); }
  bool set_limit(std::uint64_t bytes) const {
    std::ofstream file(path_ + (v1_ ? "/memory.limit_in_bytes" : "/memory.max"));
    file << bytes << std::flush;
    return file.good();
  }
  bool enter() const {
    std::ofstream file(path_ + "/cgroup.procs");
    file << ::getpid() << std::flush;
    return file.good();
  }
  // Anonymous memory of the group's processes, in bytes.
  std::uint64_t anonymous() const { return field("memory.stat", v1_ ? "rss" : "anon"); }
  // All that is charged to the group, in bytes.
  std::uint64_t used() const { return number(v1_ ? "memory.usage_in_bytes" : "memory.current"); }
  std::uint64_t peak() const { return number(v1_ ? "memory.max_usage_in_bytes" : "memory.peak"); }
  std::uint64_t limit() const { return number(v1_ ? "memory.limit_in_bytes" : "memory.max"); }

 private:
  std::uint64_t number(const char* file) const {
    std::ifstream in(path_ + "/" + file);
    std::uint64_t value = 0;
    in >> value;
    return value;
  }
  std::uint64_t field(const char* file, const std::string& name) const {
    std::ifstream in(path_ + "/" + file);
    std::string key;
    for (std::uint64_t value = 0; in >> key >> value;)
      if (key == name) return value;
    return 0;
  }
  void remove() {
    if (!path_.empty()) ::rmdir(path_.c_str());
    path_.clear();
  }
  std::string path_, why_not_;
  bool v1_ = true;
};

}  // namespace vmm::test
