// Taken back: pages that show frames, and should not any more, are pages like others again: those that were written
// since, those whose frames nobody else has, which as frames could not be swapped, those of a former home, and those
// whose frames are doubles, when mappings are plentiful: they show the other frame then.
//
// The kernel tells nobody when it gives a writer a page of its own ("broken"); it is asked. Broken pages are marked and
// charged where they are, which is cheap; taken out of their run they are as time permits.
// Thread-safety: one thread, the guest's worker.
#pragma once

#include <cstdint>

#include "region/guest_memory.h"
#include "sharing/deadline.h"
#include "sharing/frame_notes.h"
#include "sharing/frame_stores.h"
#include "sharing/page_key.h"

namespace vmm::sharing {

class TakenBack {
 public:
  // Of guests of that store's node. What it is given outlives it.
  TakenBack(const FrameStores& stores, const FrameStore& store, FrameNotes& notes) noexcept
      : stores_(stores), store_(store), notes_(notes) {}

  // Of pages [first, first + count), count <= region::kMostTaken, those that should be. `settled`: of all that the
  // guest showed before none should, and since then no frame has lost anybody: only what was written may be due.
  // `doubles`: those, too. True: none is left that should be.
  bool take(region::GuestMemory& guest, const PageKeys& keys, std::uint64_t first, std::uint64_t count, bool settled,
            bool doubles, const Deadline& deadline) noexcept;
  // Any, but those first that were written, until there are so many: others can be swapped only so. Returns how many.
  static std::uint64_t give_up(region::GuestMemory& guest, std::uint64_t most) noexcept;

 private:
  bool mark_broken(region::GuestMemory& guest, const PageKeys& keys, std::uint64_t first, std::uint64_t count) noexcept;

  const FrameStores& stores_;
  const FrameStore& store_;
  FrameNotes& notes_;
};

}  // namespace vmm::sharing
