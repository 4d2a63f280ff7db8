// Guest frames: puts frames in the places of a guest's pages and takes them out again as ShownFrames does, and keeps
// words, counts and references with it. Which frame a page shows, or would show again, is in its word; it has one
// reference of it for as long as its state is shared.
// Thread-safety: show() and hide() as ShownFrames; drop() by any thread but a fault thread. The caller holds the locks of
// all pages named; words[i] is the word of page first + i, changed and not yet unlocked.
#pragma once

#include <atomic>
#include <cstdint>

#include "region/guest_memory.h"
#include "sharing/frame_stores.h"
#include "sharing/shown_frames.h"

namespace vmm::sharing {

class GuestFrames final : public region::FrameReferences {
 public:
  // All of them outlive the guest's memory. To be put into GuestMemory::frames.
  GuestFrames(region::GuestMemory& guest, const FrameStores& stores, const ShownFrames& shown) noexcept
      : guest_(guest), stores_(stores), shown_(shown) {}
  ~GuestFrames() override;

  // Nothing is dropped any more, nor is it being dropped: the guest's fault thread, for which that waits, may let go of it
  // then. Before that, and after the last hide(). Blocks.
  void close() noexcept;

  static GuestFrames& of(const region::GuestMemory& guest) noexcept {
    return static_cast<GuestFrames&>(*guest.frames);
  }

  // Pages that are isolated, whose staged bytes are those of the frames, show the run; their staging and their charge
  // are given up. The references are the guest's then. An errno, and then nothing has changed.
  int show(std::uint64_t first, const FrameStore& store, FrameRun run, region::PageWord* words) noexcept;
  // Pages that are shared are isolated: what the guest reads there is in staging, and charged, whether there is credit
  // or not. An errno, and then nothing has changed.
  int hide(std::uint64_t first, std::uint64_t count, region::PageWord* words) noexcept;
  // Pages that are shared are empty. An errno, and then nothing has changed; ESHUTDOWN after close().
  int drop(std::uint64_t first, std::uint64_t count, region::PageWord* words) noexcept;

 private:
  void release(const region::PageWord* words, std::uint64_t count) noexcept;

  region::GuestMemory& guest_;
  const FrameStores& stores_;
  const ShownFrames& shown_;
  std::atomic<int> dropping_{0};
  std::atomic<bool> closed_{false};
};

}  // namespace vmm::sharing
