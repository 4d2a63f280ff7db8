// AllocationHook: this binary's operator new, which can fail the Nth allocation of chosen threads.
// Thread-safety: one AllocationHook at a time; allocations from any thread.
#pragma once

#include <cstdint>

namespace vmm::test {

enum class Who {
  caller,   // threads between enter_api() and leave_api()
  workers,  // threads named vmm-work/... and vmm-sched
};

// The calling thread is inside a call of the library.
void enter_api() noexcept;
void leave_api() noexcept;

class AllocationHook {
 public:
  // The nth allocation (from 1) of `who` fails, and with `for_good` all after it.
  AllocationHook(Who who, std::uint64_t n, bool for_good) noexcept;
  ~AllocationHook();
  AllocationHook(const AllocationHook&) = delete;
  AllocationHook& operator=(const AllocationHook&) = delete;

  bool hit() const noexcept;
  // Allocations of fault threads since the hook was made: there should be none.
  std::uint64_t by_fault_threads() const noexcept;
};

}  // namespace vmm::test
