// What this process has open and running, for tests that look whether everything is back to where it began.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace vmm::test {

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count - 1;  // the iterator's own
}

// Threads of this process with that name (at most 15 characters).
inline std::size_t threads_named(const std::string& name) {
  std::size_t count = 0;
  std::error_code gone;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", gone)) {
    std::ifstream comm(task.path() / "comm");
    std::string line;
    if (std::getline(comm, line) && line == name) ++count;
  }
  return count;
}

// Names of the threads of this process.
inline std::vector<std::string> thread_names() {
  std::vector<std::string> names;
  std::error_code gone;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", gone)) {
    std::ifstream comm(task.path() / "comm");
    std::string line;
    if (std::getline(comm, line)) names.push_back(line);
  }
  return names;
}

// Whether no thread of the library runs any more. A thread that was joined is in /proc for a moment longer.
inline bool library_threads_gone() {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  const auto ours = [] {
    for (const auto& name : thread_names())
      if (name.rfind("vmm-", 0) == 0) return true;
    return false;
  };
  while (ours()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

// Lines of /proc/self/maps.
inline std::size_t mappings() {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) ++count;
  return count;
}

}  // namespace vmm::test
