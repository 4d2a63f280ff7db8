#include "support/ksm.h"

#include <fstream>
#include <stdexcept>

namespace vmm::bench {
namespace {

const std::string kFolder = "/sys/kernel/mm/ksm/";
constexpr std::uint64_t kSleepMs = 20;

}  // namespace

Ksm::Ksm(const std::string& program) {
  for (const char* name : {"run", "pages_to_scan", "sleep_millisecs"}) {
    std::string before;
    if (std::ifstream file(kFolder + name); !std::getline(file, before))
      throw std::runtime_error("no " + kFolder + name);
    guardians_.push_back(
        std::make_unique<Child>(std::vector<std::string>{program, "--setting-guardian", kFolder + name, before}));
  }
  set("sleep_millisecs", std::to_string(kSleepMs));
  set("pages_to_scan", std::to_string(kPagesPerSecond * kSleepMs / 1000));
}

std::uint64_t Ksm::merged() const {
  std::uint64_t pages = 0;
  std::ifstream(kFolder + "pages_sharing") >> pages;
  return pages;
}

void Ksm::set(const char* name, const std::string& value) {
  std::ofstream file(kFolder + name);
  if (!(file << value << std::flush)) throw std::runtime_error("cannot write " + kFolder + name);
}

}  // namespace vmm::bench
