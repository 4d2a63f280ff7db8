#include "support/keep_free_memory.h"

#include <unistd.h>

#include <fstream>
#include <vector>

namespace vmm::bench {
namespace {

struct Setting {
  const char* path;
  const char* value;
};

// Some kernels can be told to leave memory alone that was freed lately, all of them to report large blocks only.
constexpr Setting kSettings[] = {
    {"/sys/module/page_reporting/parameters/min_free_ms", "60000"},
    {"/sys/module/page_reporting/parameters/page_reporting_order", "10"},
};

bool write(const char* path, const std::string& value) {
  std::ofstream file(path);
  file << value << std::flush;
  return file.good();
}

}  // namespace

KeepFreeMemory::KeepFreeMemory(const std::string& program) {
  for (const auto& setting : kSettings) {
    std::string before;
    if (std::ifstream file(setting.path); !std::getline(file, before)) continue;
    if (::access(setting.path, W_OK) != 0) continue;
    guardian_ = std::make_unique<Child>(
        std::vector<std::string>{program, "--setting-guardian", setting.path, before});
    if (write(setting.path, setting.value)) return;
    guardian_.reset();
  }
}

int KeepFreeMemory::guard(const char* path, const char* value) noexcept {
  wait_for_end_of_input();
  return write(path, value) ? 0 : 1;
}

}  // namespace vmm::bench
