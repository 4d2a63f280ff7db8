#include "stress/residue.h"

#include <filesystem>
#include <fstream>
#include <system_error>

#include "support/process_state.h"

namespace vmm::stress {

Residue Residue::now() {
  Residue r;
  r.descriptors = test::open_descriptors();
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", gone))
    if (std::filesystem::read_symlink(entry.path(), gone).string().find("userfaultfd") != std::string::npos)
      ++r.userfaultfds;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", gone)) {
    std::ifstream comm(task.path() / "comm");
    std::string name;
    if (!std::getline(comm, name)) continue;
    ++r.threads;
    if (name.rfind("vmm-", 0) == 0) ++r.library_threads;
  }
  std::ifstream smaps("/proc/self/smaps");
  for (std::string line; std::getline(smaps, line);) {
    if (line.rfind("VmFlags:", 0) != 0) continue;
    ++r.mappings;
    // "um": missing pages, "uw": write-protection, both of a userfaultfd.
    if (line.find(" um") != std::string::npos || line.find(" uw") != std::string::npos) ++r.registered;
  }
  return r;
}

std::string left_over(const Residue& before, const Residue& after, std::size_t spare_mappings) {
  std::string text;
  const auto compare = [&](const char* what, std::size_t a, std::size_t b, std::size_t spare) {
    if (b > a + spare)
      text += std::string(what) + " " + std::to_string(a) + " before, " + std::to_string(b) + " after; ";
  };
  compare("descriptors", before.descriptors, after.descriptors, 0);
  compare("userfaultfds", before.userfaultfds, after.userfaultfds, 0);
  compare("library threads", before.library_threads, after.library_threads, 0);
  compare("threads", before.threads, after.threads, 0);
  compare("registered mappings", before.registered, after.registered, 0);
  compare("mappings", before.mappings, after.mappings, spare_mappings);
  return text;
}

}  // namespace vmm::stress
