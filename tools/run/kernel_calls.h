// System calls on memory and descriptors that go to the kernel whatever this library exports under their names. In this
// library the plain names mean these too, where --wrap leads there (own_memory.cc).
// Thread-safety: any thread.
#pragma once

#include <cstddef>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

namespace vmm::run::kernel {

inline void* mmap(void* at, std::size_t bytes, int protection, int flags, int fd, off64_t offset) noexcept {
  return reinterpret_cast<void*>(::syscall(SYS_mmap, at, bytes, protection, flags, fd, offset));
}
inline int munmap(void* at, std::size_t bytes) noexcept { return static_cast<int>(::syscall(SYS_munmap, at, bytes)); }
inline void* mremap(void* at, std::size_t from, std::size_t to, int flags, void* target) noexcept {
  return reinterpret_cast<void*>(::syscall(SYS_mremap, at, from, to, flags, target));
}
inline int madvise(void* at, std::size_t bytes, int advice) noexcept {
  return static_cast<int>(::syscall(SYS_madvise, at, bytes, advice));
}
inline int mprotect(void* at, std::size_t bytes, int protection) noexcept {
  return static_cast<int>(::syscall(SYS_mprotect, at, bytes, protection));
}
inline int mlock(const void* at, std::size_t bytes) noexcept {
  return static_cast<int>(::syscall(SYS_mlock, at, bytes));
}
inline int mlock2(const void* at, std::size_t bytes, unsigned flags) noexcept {
  return static_cast<int>(::syscall(SYS_mlock2, at, bytes, flags));
}
inline int munlock(const void* at, std::size_t bytes) noexcept {
  return static_cast<int>(::syscall(SYS_munlock, at, bytes));
}
inline int mlockall(int flags) noexcept { return static_cast<int>(::syscall(SYS_mlockall, flags)); }
inline int munlockall() noexcept { return static_cast<int>(::syscall(SYS_munlockall)); }

}  // namespace vmm::run::kernel
