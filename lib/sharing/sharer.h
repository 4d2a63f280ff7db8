// Sharer: finds equal pages of the guests of one node, and has them show one copy.
//
// It looks at a guest's pages in order, some at a time, at those that were written since it did so last. Each is
// hashed, and the key offered to the table. Where that knows such a page already, of the same guest or of another of
// the same salt, or a frame, those after it, and those before, are taken along for as long as they have equals, too: a
// ShareBatch, which compares them byte by byte and has them show frames. Pages of zeros are dropped. Pages that were
// written since they were shared are the guest's own again, and those nobody shows any more are given back by their
// store.
//
// A page that is pinned, being written to the swap file, watched by the sampler or locked just now is left for another
// pass. Of huge pages only keys are noted, until they may be broken.
// Thread-safety: one thread, the worker of the node.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "region/guest_memory.h"
#include "sharing/deadline.h"
#include "sharing/frame_notes.h"
#include "sharing/frame_set.h"
#include "sharing/frame_stores.h"
#include "sharing/page_key.h"
#include "sharing/share_batch.h"
#include "sharing/share_estimator.h"
#include "sharing/share_table.h"
#include "sharing/taken_back.h"
#include "sharing/unchanged.h"
#include "vmm/result.h"

namespace vmm::sharing {

struct SharerOptions {
  std::uint64_t table_entries = 1 << 20;
  // Keys that are taken for equal although they are not are found out by comparing; fewer bits make some, for tests.
  std::uint64_t key_mask = ~std::uint64_t{0};
  // Of a step, and of taking frames out, for each of which the fault thread has to run: others wait for the worker.
  base::Nanos most_time{std::chrono::milliseconds(1)};
};

class Sharer {
 public:
  // What it is given outlives it. Errors: ENOMEM, EINVAL (entries).
  static Result<std::unique_ptr<Sharer>> create(const ProcessSecret& secret, const FrameStores& stores,
                                                FrameStore& store, const SharerOptions& options = {});
  ~Sharer();

  // The guest, whose frames are set, is looked at from now on; it shares with guests of equal salt. Throws
  // std::bad_alloc, and then it is not.
  void add(region::GuestMemory& guest, std::string_view salt);
  // What it shows already it goes on showing. Nothing if it is not there.
  void remove(const region::GuestMemory& guest) noexcept;

  // Looks at the next `most` pages of the guest, at fewer when that takes long, or at its end: true there, and the next
  // step begins anew. With `break_huge` parts of huge pages are shared, too. What it does is counted in
  // GuestCounters::share.
  bool step(region::GuestMemory& guest, std::uint64_t most, bool break_huge = false);

  // The next step of the guest begins at its first page.
  void restart(const region::GuestMemory& guest) noexcept;
  // Looks at no more than `most` pages for those that were written since they were shared, which are the guest's own,
  // and charged, from then on. True at the guest's end.
  bool find_broken(region::GuestMemory& guest, std::uint64_t most) noexcept;
  // Some pages that show frames are the guest's own again, and charged: others can be swapped only so. Returns how
  // many.
  std::uint64_t give_up(region::GuestMemory& guest, std::uint64_t most) noexcept;
  // Tells what the guest's part of its frames is, and how many pages are like no other: of all of the guest as it is
  // now.
  void tell_sharing(region::GuestMemory& guest) noexcept;

  // Reads pages [first, first + count) of the guest, count <= region::kMostTaken, that are in memory, for the estimate.
  // Throws std::bad_alloc.
  void estimate(region::GuestMemory& guest, std::uint64_t first, std::uint64_t count, ShareEstimator& estimator);

  const ShareTable& table() const noexcept { return *table_; }

 private:
  struct Member;
  // What the table knows of a page's key, and what that leads to.
  struct Found {
    std::uint64_t key = 0;
    ShareEntry entry;
    ShareBatch::Equal equal;
  };

  Sharer(const ProcessSecret& secret, const FrameStores& stores, FrameStore& store, const SharerOptions& options,
         std::unique_ptr<ShareTable> table, FrameNotes notes, FrameSet seen) noexcept;
  Member* find(const region::GuestMemory& guest) const noexcept;
  Member* owner_of(std::uint64_t number) const noexcept;
  bool begin_pass(Member& member) noexcept;
  std::uint64_t look_at_chunk(Member& member, std::uint64_t first, std::uint64_t count, bool break_huge,
                              const Deadline& deadline) noexcept;
  std::uint64_t look_from(Member& member, std::uint64_t page, std::uint64_t end, bool break_huge) noexcept;
  std::uint64_t gather(Member& member, std::uint64_t page, std::uint64_t next, std::uint64_t end) noexcept;
  void look_at_huge(Member& member, std::uint64_t page) noexcept;
  std::uint64_t drop_zeros(Member& member, std::uint64_t page, std::uint64_t end, bool break_huge) noexcept;
  std::optional<Found> look_up(Member& member, std::uint64_t page, const std::byte* bytes) noexcept;
  void note_instead(Member& member, std::uint64_t page, const Found& found, ShareBatch::Added added) noexcept;
  bool end_piece(Member& member, std::uint64_t next) noexcept;
  void note_frames(Member& member, std::uint64_t first, std::uint64_t count) noexcept;

  const ProcessSecret& secret_;
  const std::uint64_t key_mask_;
  const base::Nanos most_time_;
  const FrameStores& stores_;
  FrameStore& store_;
  const std::unique_ptr<ShareTable> table_;
  FrameNotes notes_;
  TakenBack taken_back_;
  ShareBatch batch_;
  FrameSet seen_;
  std::vector<std::unique_ptr<Member>> members_;  // by their first number
  std::uint32_t last_salt_ = 0;
  std::uint64_t sweep_hand_ = 0;  // bucket
  OthersFaults others_faults_;
  int tid_ = 0;  // of the thread that steps
};

}  // namespace vmm::sharing
