#include "os/mapping.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <numaif.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <utility>

#include "base/error.h"
#include "os/call.h"
#include "os/kernel_abi.h"
#include "vmm/units.h"

namespace vmm::os {
namespace {

int advise(void* start, std::uint64_t bytes, int advice) noexcept {
  return call(Call::madvise, [&] { return ::madvise(start, bytes, advice); }) == 0 ? 0 : errno;
}

tl::unexpected<Error> mmap_failed(std::uint64_t bytes) {
  const int error = errno;
  return base::fail_errno(error, "mmap of " + std::to_string(bytes) + " bytes",
                          "lower the size, or raise RLIMIT_AS, vm.max_map_count or vm.overcommit_memory");
}

}  // namespace

Mapping::Mapping(Mapping&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      mapped_(std::exchange(other.mapped_, 0)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    reset();
    base_ = std::exchange(other.base_, nullptr);
    mapped_ = std::exchange(other.mapped_, 0);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Mapping::~Mapping() { reset(); }

void Mapping::reset() noexcept {
  if (base_ != nullptr) call(Call::munmap, [&] { return ::munmap(base_, mapped_); });
  base_ = nullptr;
}

Result<Mapping> Mapping::map(std::uint64_t bytes, int protection, int flags, int fd, std::uint64_t offset) {
  void* p = call(Call::mmap, [&] { return ::mmap(nullptr, bytes, protection, flags, fd, static_cast<off_t>(offset)); });
  if (p == MAP_FAILED) return mmap_failed(bytes);
  auto* start = static_cast<std::byte*>(p);
  return Mapping(start, bytes, start, bytes);
}

Result<Mapping> Mapping::anonymous(std::uint64_t bytes) {
  return map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

Result<Mapping> Mapping::reserved(std::uint64_t bytes) {
  return map(bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

// Inaccessible and unlocked first: after mlockall(MCL_FUTURE) the kernel would fill it.
Result<Mapping> Mapping::private_template(int fd, std::uint64_t bytes) {
  auto mapping = map(bytes, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
  if (!mapping) return mapping;
  auto* const start = mapping->data();
  const auto failed = [&](const char* what) {
    return base::fail_errno(errno, std::string(what) + " of " + std::to_string(bytes) + " bytes of a file",
                            "let more memory be promised (vm.overcommit_memory), or lower the size");
  };
  if (::munlock(start, bytes) != 0) return failed("munlock");
  if (call(Call::mprotect, [&] { return ::mprotect(start, bytes, PROT_READ | PROT_WRITE); }) != 0)
    return failed("mprotect");
  if (keep_from_children(start, bytes) != 0) return failed("madvise(MADV_DONTFORK)");
  if (exclude_from_core_dumps(start, bytes) != 0) return failed("madvise(MADV_DONTDUMP)");
  return mapping;
}

Result<Mapping> Mapping::shared_file(int fd, std::uint64_t bytes) {
  auto mapping = map(bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (!mapping) return mapping;
  if (const int e = keep_from_children(mapping->data(), bytes))
    return base::fail_errno(e, "madvise(MADV_DONTFORK) of " + std::to_string(bytes) + " bytes of a file");
  return mapping;
}

int Mapping::move_onto(void* target) noexcept {
  void* p = call(Call::mremap, [&] {
    return ::mremap(base_, mapped_, mapped_, MREMAP_MAYMOVE | MREMAP_FIXED, target);
  });
  if (p == MAP_FAILED) return errno;
  base_ = data_ = nullptr;
  return 0;
}

int Mapping::copy_onto(void* target, std::uint64_t offset, std::uint64_t bytes) const noexcept {
  void* p = call(Call::mremap, [&] {
    return ::mremap(data_ + offset, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, target);
  });
  return p == MAP_FAILED ? errno : 0;
}

Result<Mapping> Mapping::guarded(std::uint64_t bytes) {
  const std::uint64_t total = bytes + 3 * kHugePageSize;
  if (total < bytes) {
    errno = ENOMEM;
    return mmap_failed(bytes);
  }
  void* p = call(Call::mmap, [&] {
    return ::mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  });
  if (p == MAP_FAILED) return mmap_failed(bytes);
  auto* base = static_cast<std::byte*>(p);
  const auto address = reinterpret_cast<std::uintptr_t>(base) + kHugePageSize;
  auto* data = base + kHugePageSize + (kHugePageSize - address % kHugePageSize) % kHugePageSize;
  Mapping mapping(base, total, data, bytes);
  if (call(Call::mprotect, [&] { return ::mprotect(data, bytes, PROT_READ | PROT_WRITE); }) != 0)
    return mmap_failed(bytes);
  return mapping;
}

int drop_pages(void* start, std::uint64_t bytes) noexcept {
  constexpr std::uint64_t kSlice = 32 * MiB;  // longer calls keep mmap waiting
  for (std::uint64_t at = 0; at < bytes; at += kSlice) {
    auto* const slice = static_cast<std::byte*>(start) + at;
    const auto length = std::min(kSlice, bytes - at);
    int error = advise(slice, length, MADV_DONTNEED);
    if (error == EINVAL) error = advise(slice, length, MADV_DONTNEED_LOCKED);
    if (error != 0) return error;
  }
  return 0;
}

bool is_mapped(const void* start, std::uint64_t bytes) noexcept {
  // Anonymous memory has nothing to be written back: the kernel only looks whether it is there.
  return ::msync(const_cast<void*>(start), bytes, MS_ASYNC) == 0 || errno != ENOMEM;
}

int make_inaccessible(void* start, std::uint64_t bytes) noexcept {
  return call(Call::mprotect, [&] { return ::mprotect(start, bytes, PROT_NONE); }) == 0 ? 0 : errno;
}

int make_accessible(void* start, std::uint64_t bytes) noexcept {
  return call(Call::mprotect, [&] { return ::mprotect(start, bytes, PROT_READ | PROT_WRITE); }) == 0 ? 0 : errno;
}

int populate_for_write(void* start, std::uint64_t bytes) noexcept { return advise(start, bytes, MADV_POPULATE_WRITE); }

int advise_huge_pages(void* start, std::uint64_t bytes, bool use) noexcept {
  return advise(start, bytes, use ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

int keep_from_children(void* start, std::uint64_t bytes) noexcept { return advise(start, bytes, MADV_DONTFORK); }

int wipe_in_children(void* start, std::uint64_t bytes) noexcept { return advise(start, bytes, MADV_WIPEONFORK); }

int include_in_core_dumps(void* start, std::uint64_t bytes) noexcept { return advise(start, bytes, MADV_DODUMP); }
int exclude_from_core_dumps(void* start, std::uint64_t bytes) noexcept { return advise(start, bytes, MADV_DONTDUMP); }

int bind_to_node(void* start, std::uint64_t bytes, int node, NodePolicy policy) noexcept {
  if (node < 0) return EINVAL;
  constexpr std::size_t kBits = 8 * sizeof(unsigned long);
  // The kernel wants one bit more than the highest node; 1,024 is its own maximum (MAX_NUMNODES).
  unsigned long mask[1024 / kBits] = {};
  if (node >= 1024) return ENODEV;
  mask[static_cast<std::size_t>(node) / kBits] = 1UL << (static_cast<std::size_t>(node) % kBits);
  const int mode = policy == NodePolicy::bound ? MPOL_BIND : MPOL_PREFERRED;
  return call(Call::mbind, [&] { return ::mbind(start, bytes, mode, mask, 1025, 0); }) == 0 ? 0 : errno;
}

int collapse_huge_page(void* start) noexcept { return advise(start, kHugePageSize, MADV_COLLAPSE); }

int name_range(void* start, std::uint64_t bytes, const char* name) noexcept {
  return call(Call::prctl, [&] { return ::prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, bytes, name); }) == 0 ? 0
                                                                                                          : errno;
}

}  // namespace vmm::os
