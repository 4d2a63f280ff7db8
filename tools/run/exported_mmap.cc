// mmap and its kin, for the program and all its libraries but the C library, whose own mappings (stacks of threads, its
// buffers) stay what they are. Large private anonymous mappings are guest memory; what is done to guest memory is done
// to the guest (program_mappings.h); all else goes to the kernel.
#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstring>
#include <sys/mman.h>

#include "child_service.h"
#include "inside.h"
#include "kernel_calls.h"
#include "messages.h"
#include "program_mappings.h"
#include "program_memory.h"
#include "vmm/units.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace vmm::run {
namespace {

int result_of(int error) noexcept {
  if (error == 0) return 0;
  errno = error;
  return -1;
}

void* failed(int error) noexcept {
  errno = error;
  return MAP_FAILED;
}

bool whole_pages(const void* at) noexcept { return reinterpret_cast<std::uintptr_t>(at) % kPageSize == 0; }

// 0: more than there can be.
std::size_t in_pages(std::size_t bytes) noexcept {
  return bytes > SIZE_MAX - kPageSize ? 0 : (bytes + kPageSize - 1) / kPageSize * kPageSize;
}

// The parts of a range before, in, and behind guest memory.
struct Parts {
  struct Part {
    std::byte* at = nullptr;
    std::size_t bytes = 0;
  };
  Part before, guest, behind;

  Parts(void* at, std::size_t bytes) noexcept {
    auto* const from = static_cast<std::byte*>(at);
    auto* const start = ProgramMemory::start();
    const std::size_t lead = from < start ? static_cast<std::size_t>(start - from) : 0;
    const std::size_t size = ProgramMemory::bytes() - (from > start ? static_cast<std::size_t>(from - start) : 0);
    before = {from, std::min(lead, bytes)};
    guest = {from + before.bytes, std::min(size, bytes - before.bytes)};
    behind = {guest.at + guest.bytes, bytes - before.bytes - guest.bytes};
  }

  // `ours` for the guest's part, `theirs` for the others; stops at the first -1.
  template <class Ours, class Theirs>
  int each(Ours&& ours, Theirs&& theirs) const noexcept {
    if (before.bytes != 0 && theirs(before.at, before.bytes) != 0) return -1;
    if (guest.bytes != 0) {
      const Inside here;
      if (const int error = ours(guest.at, guest.bytes)) return result_of(error);
    }
    return behind.bytes != 0 ? theirs(behind.at, behind.bytes) : 0;
  }
};

ProgramMappings& mappings() noexcept { return ProgramMappings::of_process(); }

// Whether guest memory is meant, and not the copy that a child has.
bool of_guest(const void* at, std::size_t bytes) noexcept {
  return !inside && ProgramMemory::overlaps(at, bytes) && ProgramMemory::standing();
}

bool in_unfinished_child(const void* at, std::size_t bytes) noexcept {
  return !inside && child_service_runs() && ProgramMemory::overlaps(at, bytes);
}

bool drops(int advice) noexcept {
  return advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_DONTNEED_LOCKED;
}

bool for_guest(std::size_t bytes, int protection, int flags) noexcept {
  constexpr int kOurs = MAP_PRIVATE | MAP_ANONYMOUS;
  constexpr int kKinds = MAP_SHARED | kOurs;
  constexpr int kNotOurs =
      MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_GROWSDOWN | MAP_HUGETLB | MAP_STACK | MAP_LOCKED | MAP_32BIT;
  if (inside || !ProgramMemory::standing()) return false;
  if ((flags & kKinds) != kOurs || (flags & kNotOurs) != 0 || protection != (PROT_READ | PROT_WRITE)) return false;
  return bytes >= ProgramMemory::settings().mmap_threshold;
}

void* map_for_guest(std::size_t bytes, int flags) noexcept {
  const std::size_t size = in_pages(bytes);
  const Inside here;
  void* const memory = size == 0 || size > ProgramMemory::bytes() ? nullptr : mappings().map(size);
  if (memory == nullptr) {
    say_once(Limit::full, "the program's memory is full, and it is told so (ENOMEM); --size makes more");
    return failed(ENOMEM);
  }
  if ((flags & MAP_POPULATE) != 0) (void)kernel::madvise(memory, size, MADV_POPULATE_WRITE);
  return memory;
}

// A mapping that is to lie where guest memory is.
void* map_over_guest(void* at, std::size_t bytes, int protection, int flags, int fd, off64_t offset) noexcept {
  constexpr int kZeros = MAP_PRIVATE | MAP_ANONYMOUS;
  if ((flags & MAP_FIXED_NOREPLACE) == MAP_FIXED_NOREPLACE) return failed(EEXIST);
  const std::size_t size = in_pages(bytes);
  const bool zeros = (flags & (MAP_SHARED | kZeros)) == kZeros && protection == (PROT_READ | PROT_WRITE);
  const Inside here;
  if (zeros && whole_pages(at) && size != 0 && Parts(at, size).guest.bytes == size &&
      mappings().map_over(at, size) == 0)
    return at;
  if (!whole_pages(at)) return kernel::mmap(at, bytes, protection, flags, fd, offset);  // EINVAL
  say_once(Limit::map_over_guest,
           "the program maps something over memory that is in the guest (MAP_FIXED); that is not possible, and it is "
           "told so (ENOMEM). --mmap-threshold above the size of such mappings keeps them out of the guest");
  return failed(ENOMEM);
}

bool lies_fixed(const void* at, std::size_t bytes, int flags) noexcept {
  return (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0 && of_guest(at, bytes);
}

void* map(void* at, std::size_t bytes, int protection, int flags, int fd, off64_t offset) noexcept {
  if (for_guest(bytes, protection, flags)) return map_for_guest(bytes, flags);
  if (lies_fixed(at, bytes, flags)) return map_over_guest(at, bytes, protection, flags, fd, offset);
  return kernel::mmap(at, bytes, protection, flags, fd, offset);
}

int advise_guest(void* at, std::size_t bytes, int advice) noexcept {
  switch (advice) {
    case MADV_DONTNEED:
    case MADV_FREE:
    case MADV_DONTNEED_LOCKED: return mappings().drop(at, bytes);
    case MADV_WILLNEED: (void)ProgramMemory::guest().prefetch(ProgramMemory::offset_of(at), bytes); return 0;
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
      say_once(Limit::wipe_in_children,
               "the program wants memory in the guest wiped in its children (MADV_WIPEONFORK); that is not possible, "
               "and it is told so (EINVAL)");
      return EINVAL;
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE: return kernel::madvise(at, bytes, advice) == 0 ? 0 : errno;
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case 25:  // MADV_COLLAPSE, which headers from before Linux 6.1 lack
    case MADV_MERGEABLE:
    case MADV_UNMERGEABLE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_COLD:
    case MADV_PAGEOUT: return 0;  // the host knows better, or it makes no difference to what the memory holds
    default: return EINVAL;
  }
}

void* remap_guest(void* at, std::size_t from, std::size_t to, int flags) noexcept {
  if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0 || from == 0) {
    say_once(Limit::move_from_guest,
             "the program moves memory that is in the guest to an address of its own (mremap); that is not possible, "
             "and it is told so (EINVAL)");
    return failed(EINVAL);
  }
  from = in_pages(from);
  to = in_pages(to);
  if (!whole_pages(at) || to == 0 || from == 0) return failed(EINVAL);
  if (Parts(at, from).guest.bytes != from) return failed(EFAULT);
  const Inside here;
  void* result = MAP_FAILED;
  const int error = mappings().remap(at, from, to, (flags & MREMAP_MAYMOVE) != 0, result);
  return error == 0 ? result : failed(error);
}

int lock(const void* at, std::size_t bytes, int (*theirs)(const void*, std::size_t)) noexcept {
  const auto lead = reinterpret_cast<std::uintptr_t>(at) % kPageSize;
  auto* const start = const_cast<std::byte*>(static_cast<const std::byte*>(at)) - lead;
  return Parts(start, in_pages(bytes + lead))
      .each(
          [](void* p, std::size_t n) {
            const int error = mappings().lock(p, n);
            if (error != 0)
              say_once(Limit::lock_refused,
                       "the program locks more memory than may stay in memory (mlock), and it is told so (ENOMEM); "
                       "--memory makes more");
            return error == 0 ? 0 : ENOMEM;
          },
          theirs);
}

}  // namespace
}  // namespace vmm::run

using namespace vmm::run;

EXPORTED void* mmap(void* at, std::size_t bytes, int protection, int flags, int fd, off_t offset) noexcept {
  return map(at, bytes, protection, flags, fd, offset);
}

EXPORTED void* mmap64(void* at, std::size_t bytes, int protection, int flags, int fd, off64_t offset) noexcept {
  return map(at, bytes, protection, flags, fd, offset);
}

EXPORTED int munmap(void* at, std::size_t bytes) noexcept {
  const std::size_t size = in_pages(bytes);
  if (!of_guest(at, size) || !whole_pages(at)) return kernel::munmap(at, bytes);
  return Parts(at, size).each([](void* p, std::size_t n) { return mappings().unmap(p, n); }, kernel::munmap);
}

EXPORTED int mprotect(void* at, std::size_t bytes, int protection) noexcept {
  const std::size_t size = in_pages(bytes);
  if (!of_guest(at, size) || !whole_pages(at)) return kernel::mprotect(at, bytes, protection);
  return Parts(at, size).each(
      [&](void* p, std::size_t n) {
        const int error = mappings().protect(p, n, protection);
        if (error != 0)
          say_once(Limit::protect_refused,
                   "the program protects more memory in the guest than may stay in memory (mprotect), and it is told "
                   "so (ENOMEM); --memory makes more, and --mmap-threshold keeps large mappings out of the guest");
        return error == 0 ? 0 : ENOMEM;
      },
      [&](void* p, std::size_t n) { return kernel::mprotect(p, n, protection); });
}

EXPORTED int madvise(void* at, std::size_t bytes, int advice) noexcept {
  const std::size_t size = in_pages(bytes);
  if (drops(advice) && in_unfinished_child(at, size)) {
    std::memset(at, 0, size);  // what is dropped would be brought again
    return 0;
  }
  if (!of_guest(at, size) || !whole_pages(at)) return kernel::madvise(at, bytes, advice);
  return Parts(at, size).each([&](void* p, std::size_t n) { return advise_guest(p, n, advice); },
                              [&](void* p, std::size_t n) { return kernel::madvise(p, n, advice); });
}

EXPORTED void* mremap(void* at, std::size_t from, std::size_t to, int flags, ...) noexcept {
  va_list more;
  va_start(more, flags);
  void* const target = (flags & MREMAP_FIXED) != 0 ? va_arg(more, void*) : nullptr;
  va_end(more);
  if (in_unfinished_child(at, std::max<std::size_t>(from, 1))) end_child_service();
  if (of_guest(at, std::max<std::size_t>(from, 1))) return remap_guest(at, from, to, flags);
  if ((flags & MREMAP_FIXED) != 0 && of_guest(target, to)) {
    say_once(Limit::map_over_guest,
             "the program moves something over memory that is in the guest (mremap); that is not possible, and it is "
             "told so (ENOMEM)");
    return failed(ENOMEM);
  }
  return kernel::mremap(at, from, to, flags, target);
}

EXPORTED int mlock(const void* at, std::size_t bytes) noexcept {
  if (!of_guest(at, bytes)) return kernel::mlock(at, bytes);
  return lock(at, bytes, kernel::mlock);
}

EXPORTED int mlock2(const void* at, std::size_t bytes, unsigned flags) noexcept {
  if (!of_guest(at, bytes)) return kernel::mlock2(at, bytes, flags);
  return lock(at, bytes, kernel::mlock);
}

EXPORTED int munlock(const void* at, std::size_t bytes) noexcept {
  if (!of_guest(at, bytes)) return kernel::munlock(at, bytes);
  const auto lead = reinterpret_cast<std::uintptr_t>(at) % vmm::kPageSize;
  auto* const start = const_cast<std::byte*>(static_cast<const std::byte*>(at)) - lead;
  return Parts(start, in_pages(bytes + lead))
      .each([](void* p, std::size_t n) { return mappings().unlock(p, n); }, kernel::munlock);
}

EXPORTED int mlockall(int flags) noexcept {
  if (inside || !ProgramMemory::standing()) return kernel::mlockall(flags);
  say_once(
      Limit::lock_all,
      "the program locks all of its memory (mlockall); it would all have to stay in memory, and so it is told that "
      "it cannot (ENOMEM)");
  return result_of(ENOMEM);
}

EXPORTED int munlockall() noexcept {
  if (!inside && ProgramMemory::standing()) {
    const Inside here;
    mappings().unlock_all();
  }
  return kernel::munlockall();
}
