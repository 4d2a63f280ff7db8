#include "kernel/allocation_watch.h"

#include <sys/prctl.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <gtest/gtest.h>

namespace vmm::test {
namespace {

std::atomic<bool> watching{false};
char watched[16] = {};
std::atomic<std::uint64_t> allocated{0}, freed{0};

// Allocates nothing, and keeps errno: it runs inside malloc.
void count(std::atomic<std::uint64_t>& counter) noexcept {
  if (!watching.load(std::memory_order_acquire)) return;
  const int error = errno;
  char name[17] = {};
  ::prctl(PR_GET_NAME, name);
  if (std::strncmp(name, watched, std::strlen(watched)) == 0) counter.fetch_add(1, std::memory_order_relaxed);
  errno = error;
}

}  // namespace

AllocationWatch::AllocationWatch(const std::string& thread) {
  watched[thread.copy(watched, sizeof watched - 1)] = 0;
  allocated.store(0);
  freed.store(0);
  watching.store(true, std::memory_order_release);
}
AllocationWatch::~AllocationWatch() { watching.store(false, std::memory_order_release); }
std::uint64_t AllocationWatch::allocations() const noexcept { return allocated.load(); }
std::uint64_t AllocationWatch::frees() const noexcept { return freed.load(); }

namespace {

TEST(AllocationWatch, SeesWhatTheNamedThreadAllocatesAndFrees) {
  char name[17] = {};
  ::prctl(PR_GET_NAME, name);
  AllocationWatch watch(name);
  const auto before = watch.allocations();
  void* volatile memory = std::malloc(100);
  EXPECT_GT(watch.allocations(), before);
  const auto freed_before = watch.frees();
  std::free(memory);
  EXPECT_GT(watch.frees(), freed_before);
}

TEST(AllocationWatch, SeesNothingOfOtherThreads) {
  AllocationWatch watch("nobody-is-named");
  void* volatile memory = std::malloc(100);
  std::free(memory);
  EXPECT_EQ(watch.allocations(), 0u);
  EXPECT_EQ(watch.frees(), 0u);
}

}  // namespace
}  // namespace vmm::test

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*, std::size_t),
                                                         void (*)(const volatile void*));
namespace {

[[maybe_unused]] const int installed = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, std::size_t) { vmm::test::count(vmm::test::allocated); },
    [](const volatile void*) { vmm::test::count(vmm::test::freed); });

}  // namespace

#else

// glibc's own names for what is interposed here.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t bytes) {
  vmm::test::count(vmm::test::allocated);
  return __libc_malloc(bytes);
}
void* calloc(std::size_t items, std::size_t bytes) {
  vmm::test::count(vmm::test::allocated);
  return __libc_calloc(items, bytes);
}
void* realloc(void* old, std::size_t bytes) {
  vmm::test::count(vmm::test::allocated);
  return __libc_realloc(old, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) {
  vmm::test::count(vmm::test::allocated);
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  vmm::test::count(vmm::test::allocated);
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** out, std::size_t alignment, std::size_t bytes) {
  vmm::test::count(vmm::test::allocated);
  *out = __libc_memalign(alignment, bytes);
  return *out == nullptr ? ENOMEM : 0;
}
void free(void* memory) {
  if (memory != nullptr) vmm::test::count(vmm::test::freed);
  __libc_free(memory);
}
}

#endif
