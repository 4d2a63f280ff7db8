#include "fault/allocation_hook.h"

#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

namespace vmm::test {
namespace {

std::atomic<bool> on{false}, was_hit{false};
std::atomic<Who> whom{};
std::atomic<std::uint64_t> fail_at{0}, seen{0}, fault_thread_allocations{0};
std::atomic<bool> also_later{false};
thread_local int inside_api = 0;
thread_local bool naming = false;

bool begins(const char* name, const char* with) { return std::strncmp(name, with, std::strlen(with)) == 0; }

// Whether this allocation is to fail.
bool fails() noexcept {
  if (!on.load(std::memory_order_acquire) || naming) return false;
  naming = true;
  char name[16] = {};
  ::pthread_getname_np(::pthread_self(), name, sizeof name);
  naming = false;
  if (begins(name, "vmm-fault/") || begins(name, "vmm-place/")) fault_thread_allocations.fetch_add(1);
  const bool worker = begins(name, "vmm-work/") || begins(name, "vmm-sched");
  if (whom.load() == Who::caller ? inside_api == 0 : !worker) return false;
  const auto number = seen.fetch_add(1) + 1;
  if (number < fail_at || (number > fail_at && !also_later)) return false;
  was_hit = true;
  return true;
}

void* allocate(std::size_t bytes, std::size_t alignment) noexcept {
  if (fails()) return nullptr;
  if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return std::malloc(bytes == 0 ? 1 : bytes);
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void* allocate_or_throw(std::size_t bytes, std::size_t alignment) {
  void* const p = allocate(bytes, alignment);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

void enter_api() noexcept { ++inside_api; }
void leave_api() noexcept { --inside_api; }

AllocationHook::AllocationHook(Who who, std::uint64_t n, bool for_good) noexcept {
  whom = who;
  fail_at = n;
  also_later = for_good;
  seen = 0;
  was_hit = false;
  fault_thread_allocations = 0;
  on.store(true, std::memory_order_release);
}
AllocationHook::~AllocationHook() { on.store(false, std::memory_order_release); }
bool AllocationHook::hit() const noexcept { return was_hit; }
std::uint64_t AllocationHook::by_fault_threads() const noexcept { return fault_thread_allocations; }

}  // namespace vmm::test

using vmm::test::allocate;
using vmm::test::allocate_or_throw;
constexpr std::size_t kUsual = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

void* operator new(std::size_t n) { return allocate_or_throw(n, kUsual); }
void* operator new[](std::size_t n) { return allocate_or_throw(n, kUsual); }
void* operator new(std::size_t n, std::align_val_t a) { return allocate_or_throw(n, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return allocate_or_throw(n, static_cast<std::size_t>(a)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return allocate(n, kUsual); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return allocate(n, kUsual); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
