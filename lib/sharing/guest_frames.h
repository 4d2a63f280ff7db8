// Guest frames: puts frames in the places of a guest's pages and takes them out again as ShownFrames does, and keeps
// words, counts and references with it. Which frame a page shows, or would show again, is in its word; it has one
// reference of it for as long as its state is shared.
// Thread-safety: show() by the guest's worker; hide(), drop() and take_out() by any thread but a fault thread. The
// caller holds the locks of all pages named; words[i] is the word of page first + i, changed and not yet unlocked.
#pragma once

#include <atomic>
#include <cstdint>

#include "os/drop_list.h"
#include "region/guest_memory.h"
#include "sharing/frame_stores.h"
#include "sharing/mapping_budget.h"
#include "sharing/shown_frames.h"
#include "sharing/staging_tables.h"

namespace vmm::sharing {

class GuestFrames final : public region::FrameReferences {
 public:
  // All of them outlive the guest's memory. To be put into GuestMemory::frames. Throws std::bad_alloc.
  GuestFrames(region::GuestMemory& guest, const FrameStores& stores, const ShownFrames& shown, MappingBudget& mappings)
      : guest_(guest), stores_(stores), shown_(shown), mappings_(mappings), staging_tables_(guest) {}
  ~GuestFrames() override;

  int take_out(std::uint64_t first, std::uint64_t count) noexcept override;
  // Nothing is taken out any more, nor is it being: the guest's fault thread, for which that waits, may let go of it
  // then. Blocks.
  void close() noexcept;

  // The guest's memory has so many mappings beside the first, as counted. Until the next count what is shown adds to
  // that, and what is taken out leaves it as it is. The worker.
  void count_mappings(std::uint64_t all) noexcept;
  MappingBudget& mappings() const noexcept { return mappings_; }
  // Of what pages that show frames, or are dropped for their zeros, have left. The worker.
  StagingTables& staging_tables() noexcept { return staging_tables_; }

  static GuestFrames& of(const region::GuestMemory& guest) noexcept {
    return static_cast<GuestFrames&>(*guest.frames);
  }

  // Pages that are isolated, whose staged bytes are those of the frames, show the run; their charge is given up, and
  // their staging left to the caller to drop, before it unlocks them. The references are the guest's then. An errno,
  // and then nothing has changed.
  int show(std::uint64_t first, const FrameStore& store, FrameRun run, region::PageWord* words,
           os::DropList& staged) noexcept;
  // Pages that are shared are isolated: what the guest reads there is in staging, and charged, whether there is credit
  // or not. An errno, and then nothing has changed; ESHUTDOWN after close().
  int hide(std::uint64_t first, std::uint64_t count, region::PageWord* words) noexcept;
  // Pages that are shared, and not yet known to be broken, are: the guest's own, and charged, where they are.
  void mark_broken(std::uint64_t count, region::PageWord* words) noexcept;
  // Pages that are shared are empty. An errno, and then nothing has changed; ESHUTDOWN after close().
  int drop(std::uint64_t first, std::uint64_t count, region::PageWord* words) noexcept;

 private:
  std::uint64_t mappings_of(std::uint64_t first, std::uint64_t count) const noexcept;
  void release(const region::PageWord* words, std::uint64_t count) noexcept;
  template <class Change>
  int while_open(Change&& change) noexcept;

  region::GuestMemory& guest_;
  const FrameStores& stores_;
  const ShownFrames& shown_;
  MappingBudget& mappings_;
  StagingTables staging_tables_;
  std::uint64_t counted_ = 0;  // mappings of this guest in the budget; the worker's
  std::atomic<int> taking_out_{0};
  std::atomic<bool> closed_{false};
};

}  // namespace vmm::sharing
