// Frame store: the one copy of each page that is shared, on one node.
//
// Frames are the pages of a memory file; guests map them privately, so that reads are shared and a write makes a page
// of the guest's own. Each frame counts its references: mappings that show it, or would show it again when a page of
// the guest's own is dropped. A frame that has none is given back to the kernel, and only then is its number free for
// another: nobody ever reads another tenant's bytes through it. Frames of a run have consecutive numbers, so that one
// mapping shows them all. In a child of fork() nothing is done: the file is the parent's, too.
//
// Thread-safety: all functions may be called from any thread; they wait for a lock for moments, and for no system call
// of another.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/mutex.h"
#include "os/fork_count.h"
#include "os/mapping.h"
#include "os/memory_file.h"
#include "region/credit.h"
#include "vmm/result.h"
#include "vmm/units.h"

namespace vmm::sharing {

struct FrameRun {
  std::uint64_t first = 0, count = 0;
};

class FrameStore {
 public:
  // Of at most so many frames, whose memory comes from the node if it has any; memory is used where frames are touched.
  // A frame in use is charged to the credit, which outlives it.
  // Errors: errnos of memfd_create, ftruncate, mmap and madvise. A node that may not be named is no error: then the
  // kernel decides.
  static Result<std::unique_ptr<FrameStore>> create(int node, std::uint64_t most_frames, region::Credit& credit);
  FrameStore(const FrameStore&) = delete;
  FrameStore& operator=(const FrameStore&) = delete;

  // Consecutive frames of zeros with one reference each: as many as are wanted, or as many as there are together. From
  // `next` on if they are free, so that a run can grow. None: the store is full.
  std::optional<FrameRun> allocate(std::uint64_t wanted, std::optional<std::uint64_t> next = {}) noexcept;
  // Writes what the frames hold, before anybody shows them. `bytes` are the run's. An errno: there is no memory for
  // them.
  int fill(FrameRun run, const std::byte* bytes) noexcept;
  // What the frame holds. The bytes of the frames after it follow.
  std::byte* bytes(std::uint64_t frame) const noexcept { return view_.data() + frame * kPageSize; }

  // One more reference of each. REQUIRES: they have at least one, which nobody gives up meanwhile.
  void hold(FrameRun run) noexcept;
  // One more, if it still has one: then the frame is what it was, or another's by now. Its bytes tell.
  bool try_hold(std::uint64_t frame) noexcept;
  // One less of each. Those that have none any more are given back. An errno where the kernel did not take some: those
  // are not used again.
  int release(FrameRun run) noexcept;
  std::uint32_t references(std::uint64_t frame) const noexcept;

  // The run is shown in the place of what is mapped there. Its references are the caller's business. An errno, as of
  // os::Mapping::copy_onto.
  int show(std::byte* place, FrameRun run, bool core_dump) const noexcept;

  int node() const noexcept { return node_; }
  std::uint64_t capacity() const noexcept { return capacity_; }
  std::uint64_t in_use() const noexcept { return in_use_.load(std::memory_order_relaxed); }
  // Grow when references are given or given up, and when they are given up: while the first does not, nobody has other
  // frames than before, and while the second does not, no frame has lost anybody.
  std::uint64_t changes() const noexcept { return changes_.load(std::memory_order_acquire); }
  std::uint64_t releases() const noexcept { return releases_.load(std::memory_order_acquire); }
  // Frames that the kernel did not take back.
  std::uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }
  // Bytes of memory, as the kernel counts. Errors: errnos of fstat.
  Result<std::uint64_t> allocated() const { return file_.allocated(); }

 private:
  FrameStore(int node, std::uint64_t capacity, region::Credit& credit, os::MemoryFile file, os::Mapping view,
             os::Mapping all, os::Mapping counts, os::Mapping used) noexcept;
  std::atomic<std::uint32_t>& count_of(std::uint64_t frame) const noexcept;
  void mark(FrameRun run, bool used) VMM_REQUIRES(mutex_);
  std::uint64_t next_free(std::uint64_t from) const VMM_REQUIRES(mutex_);
  std::uint64_t free_from(std::uint64_t frame, std::uint64_t most) const VMM_REQUIRES(mutex_);
  FrameRun find(std::uint64_t wanted, std::optional<std::uint64_t> next) const VMM_REQUIRES(mutex_);
  int give_back(FrameRun run) noexcept;
  int write(FrameRun run, const std::byte* bytes) const noexcept;

  const std::uint64_t forks_ = os::fork_count();
  const int node_;
  const std::uint64_t capacity_;
  region::Credit& credit_;
  const bool may_be_huge_;  // pages of the file, where it is written without a mapping
  const os::MemoryFile file_;
  const os::Mapping view_;    // the whole file, to be written
  const os::Mapping template_;  // the whole file, to be copied from
  const os::Mapping counts_;  // of references, one for each frame
  const os::Mapping used_;    // one bit for each frame; under mutex_
  base::Mutex mutex_{base::LockRank::leaf};
  std::uint64_t cursor_ VMM_GUARDED_BY(mutex_) = 0;  // where to look first
  std::atomic<std::uint64_t> in_use_{0}, lost_{0}, changes_{0}, releases_{0};
};

}  // namespace vmm::sharing
