#include "support/ksm.h"

#include <dirent.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace vmm::bench {
namespace {

const std::string kFolder = "/sys/kernel/mm/ksm/";
constexpr std::uint64_t kSleepMs = 20;
// Not every kernel has it.
const std::string kZeroPages = "use_zero_pages";

std::uint64_t number_in(const char* name) {
  std::uint64_t value = 0;
  std::ifstream(kFolder + name) >> value;
  return value;
}

// Of the thread that merges.
std::string schedstat_path() {
  std::string path;
  DIR* const processes = ::opendir("/proc");
  if (processes == nullptr) return path;
  while (const auto* entry = ::readdir(processes)) {
    const auto folder = "/proc/" + std::string(entry->d_name);
    std::string name;
    if (std::atoi(entry->d_name) > 0 && std::getline(std::ifstream(folder + "/comm"), name) && name == "ksmd")
      path = folder + "/schedstat";
  }
  ::closedir(processes);
  return path;
}

}  // namespace

Ksm::Ksm(const std::string& program) {
  for (const std::string& name : {std::string("run"), std::string("pages_to_scan"), std::string("sleep_millisecs"),
                                  kZeroPages}) {
    std::string before;
    if (std::ifstream file(kFolder + name); !std::getline(file, before)) {
      if (name == kZeroPages) continue;
      throw std::runtime_error("no " + kFolder + name);
    }
    guardians_.push_back(
        std::make_unique<Child>(std::vector<std::string>{program, "--setting-guardian", kFolder + name, before}));
  }
  set("sleep_millisecs", std::to_string(kSleepMs));
  set("pages_to_scan", std::to_string(kPagesPerSecond * kSleepMs / 1000));
}

void Ksm::set_unbounded() {
  set("sleep_millisecs", "0");
  set("pages_to_scan", "1000000");
  if (std::ifstream(kFolder + kZeroPages)) set(kZeroPages.c_str(), "1");
}

std::uint64_t Ksm::merged() const { return number_in("pages_sharing"); }
std::uint64_t Ksm::zeros() const { return number_in("ksm_zero_pages"); }
std::uint64_t Ksm::looked() const { return number_in("pages_scanned") + number_in("pages_skipped"); }
std::uint64_t Ksm::scans() const { return number_in("full_scans"); }

double Ksm::cpu_seconds() const {
  double nanoseconds = 0;
  if (std::ifstream file(schedstat_path()); file >> nanoseconds) return nanoseconds / 1e9;
  throw std::runtime_error("no processor time of ksmd in /proc");
}

void Ksm::set(const char* name, const std::string& value) {
  std::ofstream file(kFolder + name);
  if (!(file << value << std::flush)) throw std::runtime_error("cannot write " + kFolder + name);
}

}  // namespace vmm::bench
