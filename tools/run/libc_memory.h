// The C library's own allocator under the names that stay when malloc is somebody else's. For what is not guest memory.
// Thread-safety: any thread.
#pragma once

#include <cstddef>

extern "C" {
void* __libc_malloc(std::size_t bytes) noexcept;
void* __libc_calloc(std::size_t count, std::size_t bytes) noexcept;
void* __libc_realloc(void* memory, std::size_t bytes) noexcept;
void* __libc_memalign(std::size_t alignment, std::size_t bytes) noexcept;
void __libc_free(void* memory) noexcept;
}
