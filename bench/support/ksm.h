// Ksm: same-page merging by the kernel, on while it lives. The settings are put back at the end, also where the bench
// is killed.
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "support/child.h"

namespace vmm::bench {

class Ksm {
 public:
  // `program`: this program. Throws std::runtime_error where the kernel has no KSM or it may not be set.
  explicit Ksm(const std::string& program);

  // Pages looked at in a second. The kernel's default is 5,000; tuning daemons go up to 60,000 on busy hosts.
  static constexpr std::uint64_t kPagesPerSecond = 25'000;

  // As fast as it can, and pages of zeros are the kernel's own.
  void set_unbounded();
  void on() { set("run", "1"); }
  // Stops looking; what is merged stays.
  void off() { set("run", "0"); }
  // Takes all apart that is merged, and stops.
  void unmerge() { set("run", "2"); }
  // Pages that share another page's memory now.
  std::uint64_t merged() const;
  // Pages of zeros that are the kernel's own now.
  std::uint64_t zeros() const;
  // Pages that it has looked at, or passed over because they were looked at in vain before.
  std::uint64_t looked() const;
  // Times that it has looked at everything.
  std::uint64_t scans() const;
  // Processor time of its thread, seconds. Throws std::runtime_error where that is not told.
  double cpu_seconds() const;

 private:
  void set(const char* name, const std::string& value);

  std::vector<std::unique_ptr<Child>> guardians_;
};

}  // namespace vmm::bench
