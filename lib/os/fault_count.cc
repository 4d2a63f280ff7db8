#include "os/fault_count.h"

#include <sys/resource.h>

namespace vmm::os {
namespace {

std::uint64_t faults_of(int who) noexcept {
  rusage usage{};
  ::getrusage(who, &usage);
  return static_cast<std::uint64_t>(usage.ru_minflt) + static_cast<std::uint64_t>(usage.ru_majflt);
}

}  // namespace

std::uint64_t process_faults() noexcept { return faults_of(RUSAGE_SELF); }
std::uint64_t thread_faults() noexcept { return faults_of(RUSAGE_THREAD); }

}  // namespace vmm::os
