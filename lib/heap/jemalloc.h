// The private jemalloc of this library: a copy of libjemalloc_pic.a whose names are renamed to vmm_je_* and hidden
// (cmake/VmmHeap.cmake), so that malloc, free and operator new stay the program's. It takes no settings from outside:
// neither $MALLOC_CONF nor /etc/malloc.conf nor a symbol malloc_conf, which are the program's own jemalloc's if it has
// one.
// Thread-safety: any thread.
#pragma once

#include <cstddef>
#include <cstdint>

#define JEMALLOC_NO_RENAME
#define JEMALLOC_NO_DEMANGLE
#include <jemalloc/jemalloc.h>

// arenas_create_ext, which keeps an arena's own data out of the arena, came with 5.3.
#if JEMALLOC_VERSION_MAJOR < 5 || (JEMALLOC_VERSION_MAJOR == 5 && JEMALLOC_VERSION_MINOR < 3)
#error "jemalloc 5.3 or newer is needed"
#endif

// Hidden here, hidden wherever it is linked: the strictest of all declarations holds.
#define VMM_JE extern "C" __attribute__((visibility("hidden")))
VMM_JE void* vmm_je_mallocx(std::size_t bytes, int flags) noexcept;
VMM_JE std::size_t vmm_je_xallocx(void* memory, std::size_t bytes, std::size_t extra, int flags) noexcept;
VMM_JE void vmm_je_dallocx(void* memory, int flags) noexcept;
VMM_JE std::size_t vmm_je_sallocx(const void* memory, int flags) noexcept;
VMM_JE int vmm_je_mallctl(const char* name, void* old, std::size_t* old_bytes, void* value, std::size_t bytes) noexcept;
VMM_JE int vmm_je_mallctlnametomib(const char* name, std::size_t* mib, std::size_t* length) noexcept;
VMM_JE int vmm_je_mallctlbymib(const std::size_t* mib, std::size_t length, void* old, std::size_t* old_bytes,
                               void* value, std::size_t bytes) noexcept;
#undef VMM_JE

namespace vmm::heap {

// An arena whose memory comes from `hooks`, which outlive it. Returns 0 or an errno.
int create_arena(extent_hooks_t* hooks, unsigned& arena) noexcept;
// Gives all of its memory back to the hooks, whether it is allocated or not, without touching it.
void destroy_arena(unsigned arena) noexcept;
// Gives the memory that it keeps for reuse back to the hooks.
void purge_arena(unsigned arena) noexcept;

struct ArenaFigures {
  std::uint64_t allocated = 0;  // bytes in allocations, rounded as jemalloc rounds them
  std::uint64_t active = 0;     // bytes of the pages that those are in
};
ArenaFigures arena_figures(unsigned arena) noexcept;

}  // namespace vmm::heap
