// malloc and its kin, for the program and all its libraries. Where a pointer came from is told by its address, so
// memory that was allocated before there was a guest is freed and grown rightly at any time.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "inside.h"
#include "libc_memory.h"
#include "messages.h"
#include "program_memory.h"
#include "vmm/units.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace vmm::run {
namespace {

constexpr std::size_t kAlignment = alignof(std::max_align_t);

void* no_memory() noexcept {
  errno = ENOMEM;
  return nullptr;
}

HeapCore* heap_now() noexcept { return inside ? nullptr : ProgramMemory::heap(); }

// What no process could have is refused without a word, as elsewhere.
void* full(std::size_t bytes) noexcept {
  constexpr std::size_t kAddresses = std::size_t{1} << 47U;
  if (bytes < kAddresses)
    say_once(Limit::full, "the program's memory is full, and it is told so (ENOMEM); --size makes more");
  return no_memory();
}

void* allocate(HeapCore& heap, std::size_t bytes, std::size_t alignment, HeapCore::Fill fill) noexcept {
  const Inside here;
  void* const memory = heap.allocate_bytes(bytes, alignment, fill);
  return memory != nullptr ? memory : full(bytes);
}

void* allocate_aligned(std::size_t alignment, std::size_t bytes) noexcept {
  auto* const heap = heap_now();
  if (heap == nullptr) return __libc_memalign(alignment, bytes);
  return allocate(*heap, bytes, std::max(alignment, kAlignment), HeapCore::Fill::any);
}

std::size_t usable(const void* memory) noexcept {
  const Inside here;
  return ProgramMemory::any_heap().usable_size(memory);
}

// The C library has no other name for its own malloc_usable_size.
std::size_t usable_of_libc(void* memory) noexcept {
  // The size is in the word before, with three flags below; a mapped block has two words before it.
  const std::size_t word = static_cast<const std::size_t*>(memory)[-1];
  constexpr std::size_t kMapped = 2, kFlags = 7;
  return (word & ~kFlags) - ((word & kMapped) != 0 ? 2 : 1) * sizeof(std::size_t);
}

void* reallocate(void* memory, std::size_t bytes) noexcept {
  if (memory == nullptr) return ::malloc(bytes);
  if (bytes == 0) {
    ::free(memory);
    return nullptr;
  }
  if (!ProgramMemory::contains(memory)) return __libc_realloc(memory, bytes);
  const std::size_t before = usable(memory);
  if (auto* const heap = ProgramMemory::heap()) {
    const Inside here;
    // Small ones only move where that saves a third; there their class decides.
    if (bytes <= before && bytes > before / 3 * 2) return memory;
    if (heap->resize(memory, bytes)) return memory;
  }
  void* const result = ::malloc(bytes);
  if (result == nullptr) return nullptr;
  std::memcpy(result, memory, std::min(before, bytes));
  ::free(memory);
  return result;
}

}  // namespace
}  // namespace vmm::run

using namespace vmm::run;

EXPORTED void* malloc(std::size_t bytes) noexcept {
  auto* const heap = heap_now();
  if (heap == nullptr) return __libc_malloc(bytes);
  return allocate(*heap, bytes, kAlignment, vmm::HeapCore::Fill::any);
}

EXPORTED void free(void* memory) noexcept {
  if (memory == nullptr) return;
  if (!ProgramMemory::contains(memory)) return __libc_free(memory);
  auto* const heap = ProgramMemory::heap();
  if (heap == nullptr) return;  // a child: see program_memory.h
  const int before = errno;
  const Inside here;
  heap->free(memory);
  errno = before;
}

EXPORTED void* calloc(std::size_t count, std::size_t bytes) noexcept {
  auto* const heap = heap_now();
  if (heap == nullptr) return __libc_calloc(count, bytes);
  std::size_t all = 0;
  if (__builtin_mul_overflow(count, bytes, &all)) return no_memory();
  return allocate(*heap, all, kAlignment, vmm::HeapCore::Fill::zeros);
}

EXPORTED void* realloc(void* memory, std::size_t bytes) noexcept { return reallocate(memory, bytes); }

EXPORTED void* reallocarray(void* memory, std::size_t count, std::size_t bytes) noexcept {
  std::size_t all = 0;
  if (__builtin_mul_overflow(count, bytes, &all)) return no_memory();
  return reallocate(memory, all);
}

EXPORTED int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) noexcept {
  if (!std::has_single_bit(alignment) || alignment % sizeof(void*) != 0) return EINVAL;
  const int before = errno;
  void* const result = allocate_aligned(alignment, bytes);
  errno = before;
  if (result == nullptr) return ENOMEM;
  *memory = result;
  return 0;
}

EXPORTED void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  if (!std::has_single_bit(alignment)) {
    errno = EINVAL;
    return nullptr;
  }
  return allocate_aligned(alignment, bytes);
}

EXPORTED void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
  // glibc takes the next power of two.
  if (alignment > SIZE_MAX / 2 + 1) {
    errno = EINVAL;
    return nullptr;
  }
  return allocate_aligned(std::bit_ceil(std::max<std::size_t>(alignment, 1)), bytes);
}

EXPORTED void* valloc(std::size_t bytes) noexcept { return allocate_aligned(vmm::kPageSize, bytes); }

EXPORTED void* pvalloc(std::size_t bytes) noexcept {
  if (bytes > SIZE_MAX - vmm::kPageSize) return no_memory();
  return allocate_aligned(vmm::kPageSize, (bytes + vmm::kPageSize - 1) / vmm::kPageSize * vmm::kPageSize);
}

EXPORTED std::size_t malloc_usable_size(void* memory) noexcept {
  if (memory == nullptr) return 0;
  return ProgramMemory::contains(memory) ? usable(memory) : usable_of_libc(memory);
}
