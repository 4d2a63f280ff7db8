// Counts what fault threads allocate and free while asked to: malloc and its relatives are interposed in the test
// binary (under sanitizers their hooks are used).
// Thread-safety: any thread; one AllocationWatch at a time.
#pragma once

#include <cstdint>
#include <string>

namespace vmm::test {

class AllocationWatch {
 public:
  // Counts allocations and frees of threads whose name begins with `thread`.
  explicit AllocationWatch(const std::string& thread);
  ~AllocationWatch();
  AllocationWatch(const AllocationWatch&) = delete;
  AllocationWatch& operator=(const AllocationWatch&) = delete;
  std::uint64_t allocations() const noexcept;
  std::uint64_t frees() const noexcept;
};

}  // namespace vmm::test
