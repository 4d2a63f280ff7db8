#include "program_mappings.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <new>
#include <vector>

#include "inside.h"
#include "program_memory.h"
#include "vmm/units.h"

namespace vmm::run {
namespace {

constexpr int kOrdinary = PROT_READ | PROT_WRITE;

std::byte* at_offset(std::uint64_t offset) noexcept { return ProgramMemory::start() + offset; }

// The tables are ordinary memory: there may be none.
template <class F>
int guarded(F&& f) noexcept try {
  return f();
} catch (const std::bad_alloc&) {
  return ENOMEM;
}

int errno_of(const Error& error) noexcept {
  const auto& code = error.code;
  return code.category() == std::generic_category() || code.category() == std::system_category() ? code.value()
                                                                                                 : ENOMEM;
}

}  // namespace

ProgramMappings& ProgramMappings::of_process() noexcept {
  static auto& mappings = *new ProgramMappings;  // never ends: see program_memory.h
  return mappings;
}

GuestRange ProgramMappings::range_of(const void* at, std::size_t bytes) noexcept {
  const auto first = ProgramMemory::offset_of(at);
  return {first, first + bytes};
}

bool ProgramMappings::all_mapped_locked(GuestRange range) const noexcept {
  auto at = mapped_.upper_bound(range.first);
  return at != mapped_.begin() && std::prev(at)->second >= range.end;
}

void ProgramMappings::insert_locked(GuestRange range) {
  auto next = mapped_.lower_bound(range.first);
  if (next != mapped_.begin() && std::prev(next)->second == range.first) {
    const auto before = std::prev(next);
    before->second = range.end;
    if (next != mapped_.end() && next->first == range.end) {
      before->second = next->second;
      mapped_.erase(next);
    }
    return;
  }
  auto end = range.end;
  if (next != mapped_.end() && next->first == range.end) {
    end = next->second;
    mapped_.emplace(range.first, end);
    mapped_.erase(range.end);
    return;
  }
  mapped_.emplace(range.first, end);
}

void* ProgramMappings::map(std::size_t bytes) noexcept {
  void* memory = nullptr;
  const int error = guarded([&] {
    const std::lock_guard lock(mutex_);
    memory = ProgramMemory::any_heap().allocate_pages(bytes, kPageSize);
    if (memory == nullptr) return ENOMEM;
    try {
      insert_locked(range_of(memory, bytes));
    } catch (...) {
      (void)ProgramMemory::any_heap().free_pages(memory, bytes);
      throw;
    }
    return 0;
  });
  return error == 0 ? memory : nullptr;
}

int ProgramMappings::map_over(void* at, std::size_t bytes) noexcept {
  return guarded([&] {
    const std::lock_guard lock(mutex_);
    const auto range = range_of(at, bytes);
    if (!all_mapped_locked(range)) return EINVAL;
    if (const int e = unprotect_locked(range)) return e;
    return drop_locked(range);
  });
}

int ProgramMappings::unmap(void* at, std::size_t bytes) noexcept {
  return guarded([&] {
    const std::lock_guard lock(mutex_);
    return unmap_locked(range_of(at, bytes));
  });
}

int ProgramMappings::unmap_locked(GuestRange range) {
  auto first = mapped_.upper_bound(range.first);
  if (first != mapped_.begin() && std::prev(first)->second > range.first) --first;
  std::vector<GuestRange> gone, left;
  auto last = first;
  for (; last != mapped_.end() && last->first < range.end; ++last) {
    const GuestRange part{std::max(last->first, range.first), std::min(last->second, range.end)};
    gone.push_back(part);
    if (last->first < part.first) left.push_back({last->first, part.first});
    if (part.end < last->second) left.push_back({part.end, last->second});
  }
  for (const auto& part : gone) {
    if (const int e = unprotect_locked(part)) return e;
    locked_.remove(part);
  }
  mapped_.erase(first, last);
  for (const auto& part : left) mapped_.emplace(part.first, part.end);
  for (const auto& part : gone) {
    // Before others can have it. Should it be pinned yet, whoever gets it clears it.
    (void)ProgramMemory::guest().discard(part.first, part.bytes());
    (void)ProgramMemory::any_heap().free_pages(at_offset(part.first), part.bytes());
  }
  return 0;
}

int ProgramMappings::remap(void* at, std::size_t from, std::size_t to, bool may_move, void*& result) noexcept {
  return guarded([&] {
    const std::lock_guard lock(mutex_);
    const auto range = range_of(at, from);
    if (!all_mapped_locked(range)) return EFAULT;
    result = at;
    if (to == from) return 0;
    if (to < from) return unmap_locked({range.first + to, range.end});
    auto& heap = ProgramMemory::any_heap();
    if (range.end + (to - from) <= ProgramMemory::bytes() && heap.allocate_pages_at(at_offset(range.end), to - from)) {
      insert_locked({range.end, range.first + to});
      return 0;
    }
    if (!may_move) return ENOMEM;
    void* const memory = heap.allocate_pages(to, kPageSize);
    if (memory == nullptr) return ENOMEM;
    insert_locked(range_of(memory, to));
    if (const int e = unprotect_locked(range)) {
      (void)unmap_locked(range_of(memory, to));
      return e;
    }
    std::memcpy(memory, at, from);
    (void)unmap_locked(range);
    result = memory;
    return 0;
  });
}

int ProgramMappings::protect(void* at, std::size_t bytes, int protection) noexcept {
  return guarded([&] {
    const std::lock_guard lock(mutex_);
    const auto range = range_of(at, bytes);
    if (protection == kOrdinary) return unprotect_locked(range);
    if (auto r = protected_.add(ProgramMemory::guest(), range); !r) return errno_of(r.error());
    if (::mprotect(at, bytes, protection) == 0) return 0;
    const int error = errno;
    (void)unprotect_locked(range);
    return error;
  });
}

int ProgramMappings::unprotect_locked(GuestRange range) {
  if (!protected_.any(range)) return 0;
  if (::mprotect(at_offset(range.first), range.bytes(), kOrdinary) != 0) return errno;
  protected_.remove(range);
  return 0;
}

int ProgramMappings::drop(void* at, std::size_t bytes) noexcept {
  return guarded([&] {
    const std::lock_guard lock(mutex_);
    const auto range = range_of(at, bytes);
    // As the kernel has it; and what is protected cannot be cleared where it is.
    if (locked_.any(range) || protected_.any(range)) return EINVAL;
    return drop_locked(range);
  });
}

int ProgramMappings::drop_locked(GuestRange range) noexcept {
  if (ProgramMemory::guest().discard(range.first, range.bytes())) return 0;
  // Some page of it is pinned: by the heap, for a moment, or with others that are still protected or locked.
  std::memset(at_offset(range.first), 0, range.bytes());
  return 0;
}

int ProgramMappings::lock(void* at, std::size_t bytes) noexcept {
  return guarded([&] {
    const std::lock_guard lock(mutex_);
    auto r = locked_.add(ProgramMemory::guest(), range_of(at, bytes));
    return r ? 0 : errno_of(r.error());
  });
}

int ProgramMappings::unlock(void* at, std::size_t bytes) noexcept {
  return guarded([&] {
    const std::lock_guard lock(mutex_);
    locked_.remove(range_of(at, bytes));
    return 0;
  });
}

void ProgramMappings::unlock_all() noexcept {
  const std::lock_guard lock(mutex_);
  locked_.clear();
}

std::uint64_t ProgramMappings::mapped() noexcept {
  const std::lock_guard lock(mutex_);
  std::uint64_t bytes = 0;
  for (const auto& [first, end] : mapped_) bytes += end - first;
  return bytes;
}

}  // namespace vmm::run
