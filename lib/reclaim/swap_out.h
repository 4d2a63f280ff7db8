// SwapOut: writes staged pages to the swap files, many in flight, and ends their stay in memory once the write
// has succeeded. Zero pages are dropped without a write; pages whose slot still holds their bytes keep it.
//
// While a page is being written its word says `writing`: a fault then gets a copy, and the staged page stays
// until the write has ended, for the device still reads it. A huge page's frames are one block only as long as none
// of it is dropped, so all of it is dropped at once, when its last write has ended.
// Thread-safety: one worker thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "os/async_io.h"
#include "reclaim/finish_pages.h"
#include "reclaim/swap_store.h"
#include "region/guest_memory.h"
#include "region/notice.h"
#include "vmm/options.h"

namespace vmm::reclaim {

struct SwapOutOptions {
  int node = 0;
  SwapIo io = SwapIo::automatic;
  std::uint32_t writes_in_flight = 20;
  base::Nanos retry_timeout = std::chrono::seconds(300);
};

class SwapOut {
 public:
  // Errors: those of AsyncIo.
  static Result<std::unique_ptr<SwapOut>> create(const SwapOutOptions& options, region::Notices& notices);

  // Begins to write those pages of [first, first + count) that are isolated and not being written; flush() hands the
  // last of them to the kernel. Waits only while the most writes are in flight. Returns how many pages it dealt with at
  // once or began to write, not those that went back into the guest for lack of slots. `reason` is counted.
  std::uint64_t write(region::GuestMemory& guest, std::uint64_t first, std::uint64_t count, base::Nanos now,
                      policy::ReclaimReason reason = policy::ReclaimReason::asked);
  void flush() noexcept;
  // Ends the writes that have completed; with `wait`, all of them.
  void finish(bool wait, base::Nanos now);
  // Pages being written.
  std::uint64_t pages_in_flight() const noexcept { return in_flight_pages_; }
  os::AsyncIo::EventFds event_fds() const noexcept { return io_->event_fds(); }
  os::AsyncIo::Backend backend() const noexcept { return io_->backend(); }

 private:
  // Pages that follow each other and whose stay in staging ends together, when the last of their writes has ended.
  struct Batch {
    region::GuestMemory* guest = nullptr;  // nullptr = unused
    std::uint64_t first = 0;
    std::uint32_t count = 0;
    std::uint32_t writes = 0;  // in flight, and one while they are begun
    policy::ReclaimReason reason = policy::ReclaimReason::asked;
    PageEnds ends;
  };
  // One request to the file; its index is the request's tag.
  struct Write {
    Batch* batch = nullptr;   // nullptr = unused
    std::uint32_t first = 0;  // within the batch
    std::uint32_t count = 0;
    std::uint64_t slot = 0;
    std::uint32_t tries = 0;
  };

  SwapOut(const SwapOutOptions& options, region::Notices& notices) : options_(options), notices_(notices) {}
  std::uint32_t write_batch(region::GuestMemory& guest, std::uint64_t first, std::uint32_t count, base::Nanos now,
                            policy::ReclaimReason reason);
  PageEnd classify(const region::GuestMemory& guest, std::uint64_t page) const;
  std::uint32_t begin_write(Batch& batch, std::uint32_t first, std::uint32_t count, base::Nanos now);
  Batch& unused_batch();
  Write& unused_write(base::Nanos now);
  bool reap(bool wait, base::Nanos now);
  bool finish_ended(std::size_t most);
  void submit(const Write& write);
  void complete(std::size_t index, int result, base::Nanos now);
  void release(Batch& batch);
  bool free_slots(region::GuestMemory& guest);

  const SwapOutOptions options_;
  region::Notices& notices_;
  std::unique_ptr<os::AsyncIo> io_;
  std::vector<Write> writes_;
  // One is being begun, as many as writes are in flight, and as many wait for their end while the device is waited for.
  std::vector<Batch> batches_;
  std::vector<Batch*> ended_;  // written; capacity batches_.size()
  std::uint64_t in_flight_pages_ = 0;
  unsigned queued_ = 0;  // writes not yet handed to the kernel
};

}  // namespace vmm::reclaim
