// What this library itself allocates. It is linked with --wrap for these names, with all of its C++ library inside: any
// malloc, or operator new, in it comes here, not to what the program gets (exported_malloc.cc). Its calls to map memory
// go to the kernel, likewise.
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <sys/mman.h>

#include "kernel_calls.h"
#include "libc_memory.h"

#define OWN extern "C" __attribute__((visibility("hidden")))

OWN void* __wrap_malloc(std::size_t bytes) { return __libc_malloc(bytes); }
OWN void* __wrap_calloc(std::size_t count, std::size_t bytes) { return __libc_calloc(count, bytes); }
OWN void* __wrap_realloc(void* memory, std::size_t bytes) { return __libc_realloc(memory, bytes); }
OWN void __wrap_free(void* memory) { __libc_free(memory); }
OWN void* __wrap_memalign(std::size_t alignment, std::size_t bytes) { return __libc_memalign(alignment, bytes); }
OWN void* __wrap_aligned_alloc(std::size_t alignment, std::size_t bytes) { return __libc_memalign(alignment, bytes); }
OWN int __wrap_posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  const int before = errno;
  *memory = __libc_memalign(alignment, bytes);
  errno = before;
  return *memory != nullptr ? 0 : ENOMEM;
}

namespace kernel = vmm::run::kernel;

OWN void* __wrap_mmap(void* at, std::size_t bytes, int protection, int flags, int fd, off_t offset) {
  return kernel::mmap(at, bytes, protection, flags, fd, offset);
}
OWN void* __wrap_mmap64(void* at, std::size_t bytes, int protection, int flags, int fd, off64_t offset) {
  return kernel::mmap(at, bytes, protection, flags, fd, offset);
}
OWN int __wrap_munmap(void* at, std::size_t bytes) { return kernel::munmap(at, bytes); }
OWN void* __wrap_mremap(void* at, std::size_t from, std::size_t to, int flags, ...) {
  va_list more;
  va_start(more, flags);
  void* const target = (flags & MREMAP_FIXED) != 0 ? va_arg(more, void*) : nullptr;
  va_end(more);
  return kernel::mremap(at, from, to, flags, target);
}
OWN int __wrap_madvise(void* at, std::size_t bytes, int advice) { return kernel::madvise(at, bytes, advice); }
OWN int __wrap_mprotect(void* at, std::size_t bytes, int protection) { return kernel::mprotect(at, bytes, protection); }
