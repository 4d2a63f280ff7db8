// Mapping: a mapping of memory that ends with its owner, and what is done to memory ranges.
// Thread-safety: a Mapping belongs to one thread at a time; the free functions may be called from any
// thread, fault threads included: they return an errno (0 = done) and allocate nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "vmm/result.h"

namespace vmm::os {

class Mapping {
 public:
  Mapping() noexcept = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  // Readable, writable, zero; costs memory only where touched. Errors: ENOMEM and other errnos of mmap.
  static Result<Mapping> anonymous(std::uint64_t bytes);

  // As anonymous(), but inaccessible until make_accessible(): so that it never becomes one with a neighbour that has
  // been touched, and so would merge with no other where it is moved to. Errors: as anonymous().
  static Result<Mapping> reserved(std::uint64_t bytes);

  // As anonymous(), aligned to kHugePageSize, with an inaccessible guard of kHugePageSize on both sides.
  static Result<Mapping> guarded(std::uint64_t bytes);

  // The first bytes of the file, readable and writable, to be copied from with copy_onto() alone: what is written to a
  // copy is its own, page by page. Neither a child of fork() nor a core dump gets this or a copy. Costs no memory.
  // Errors: ENOMEM (vm.overcommit_memory = 2) and other errnos of mmap, mprotect and madvise.
  static Result<Mapping> private_template(int fd, std::uint64_t bytes);

  // The first bytes of the file, readable and writable; what is written is seen in the file, and by who maps it. A
  // child of fork() does not get it. Errors: ENOMEM and other errnos of mmap and madvise.
  static Result<Mapping> shared_file(int fd, std::uint64_t bytes);

  // Takes the place of the mappings in [target, target + size()), with all that is set for it, in one step for whoever
  // looks: a page of theirs, or one of this. Nothing is left of this then: what owns them owns it. Errors: ENOMEM and
  // other errnos of mremap; then this is as it was, and the target too, or it is gone, see is_mapped(). Not for fault
  // threads: where this is registered for it, whoever reads the userfaultfd of a range that moves is waited for.
  int move_onto(void* target) noexcept;

  // A copy of [offset, offset + bytes) takes the place of the mappings there, as with move_onto(); this stays as it is.
  // Pages of its own that this has come to have there (mlockall(MCL_CURRENT) makes some) are moved along: they hold what
  // the file did then, so whoever changes the file drops them before a copy is made.
  // Two thirds of what it costs to make a mapping aside and move it (MREMAP_DONTUNMAP, Linux >= 5.13 for files).
  int copy_onto(void* target, std::uint64_t offset, std::uint64_t bytes) const noexcept;

  std::byte* data() const noexcept { return data_; }
  std::uint64_t size() const noexcept { return size_; }

 private:
  Mapping(std::byte* base, std::uint64_t mapped, std::byte* data, std::uint64_t size) noexcept
      : base_(base), mapped_(mapped), data_(data), size_(size) {}
  static Result<Mapping> map(std::uint64_t bytes, int protection, int flags, int fd, std::uint64_t offset);
  void reset() noexcept;

  std::byte* base_ = nullptr;  // what munmap gets: guards included
  std::uint64_t mapped_ = 0;
  std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
};

// Where new pages of a range come from.
enum class NodePolicy { preferred, bound };

// Drops the pages of the range, in slices; mlocked ranges too (MADV_DONTNEED_LOCKED, Linux >= 5.18). On an error
// the slices before the failing one are dropped.
int drop_pages(void* start, std::uint64_t bytes) noexcept;
// Whether every page of the range belongs to some mapping.
bool is_mapped(const void* start, std::uint64_t bytes) noexcept;
// Nothing can touch the range any more: SIGSEGV.
int make_inaccessible(void* start, std::uint64_t bytes) noexcept;
int make_accessible(void* start, std::uint64_t bytes) noexcept;
// Makes every page of the range present and writable (MADV_POPULATE_WRITE, Linux >= 5.14).
int populate_for_write(void* start, std::uint64_t bytes) noexcept;
int advise_huge_pages(void* start, std::uint64_t bytes, bool use) noexcept;
// The child of a fork() does not get the range.
int keep_from_children(void* start, std::uint64_t bytes) noexcept;
// A child of fork() sees zeros in the range.
int wipe_in_children(void* start, std::uint64_t bytes) noexcept;
int include_in_core_dumps(void* start, std::uint64_t bytes) noexcept;
int exclude_from_core_dumps(void* start, std::uint64_t bytes) noexcept;
int bind_to_node(void* start, std::uint64_t bytes, int node, NodePolicy policy) noexcept;
// Makes a huge page of 512 resident pages again (MADV_COLLAPSE, Linux >= 6.1).
int collapse_huge_page(void* start) noexcept;
// Shows `name` in /proc/self/maps (kernels with CONFIG_ANON_VMA_NAME; elsewhere an errno to ignore).
int name_range(void* start, std::uint64_t bytes, const char* name) noexcept;

}  // namespace vmm::os
