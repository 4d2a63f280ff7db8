// lock_memory(): mlock and its like, by the system calls themselves: the sanitizers make nothing of those of the C
// library.
// Thread-safety: any thread.
#pragma once

#include <cstdint>
#include <sys/syscall.h>
#include <unistd.h>

namespace vmm::test {

inline int lock_memory(const void* start, std::uint64_t bytes) {
  return static_cast<int>(::syscall(SYS_mlock, start, bytes));
}
inline int unlock_memory(const void* start, std::uint64_t bytes) {
  return static_cast<int>(::syscall(SYS_munlock, start, bytes));
}
inline int lock_all_memory(int flags) { return static_cast<int>(::syscall(SYS_mlockall, flags)); }

}  // namespace vmm::test
