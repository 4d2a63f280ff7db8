// BudgetWatch: measures what native guests hold, which grow without asking. Between exact counts (by the kernel's
// page tables, for at most about 1 % of the time) it follows the process's resident memory, which takes 2 us to
// read; growth of the application itself is then taken for the guests', never the other way round for long.
// Thread-safety: the scheduler's thread only.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "os/process_memory.h"
#include "region/guest_memory.h"

namespace vmm::host {

class BudgetWatch {
 public:
  BudgetWatch(os::ProcessMemory memory, region::Credit& credit) noexcept
      : memory_(std::move(memory)), credit_(credit) {}

  // Pages held by `natives`, which must be native; told to the credit.
  std::uint64_t measure(const std::vector<region::GuestMemory*>& natives, base::Nanos now);
  // The set of native guests has changed: the next measure() counts.
  void forget() noexcept { counted_ = false; }

 private:
  const os::ProcessMemory memory_;
  region::Credit& credit_;
  bool counted_ = false;
  base::Nanos next_count_{};
  std::uint64_t exact_ = 0;             // pages at the last count
  std::int64_t others_at_count_ = 0;    // the process's pages then, less what is charged
};

}  // namespace vmm::host
