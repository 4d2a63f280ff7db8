// SwapOut: writes staged pages to the swap files, many in flight, and ends their stay in memory once the write
// has succeeded. Zero pages are dropped without a write; pages whose slot still holds their bytes keep it.
//
// While a page is being written its word says `writing`: a fault then gets a copy, and the staged page stays
// until the write has ended, for the device still reads it.
// Thread-safety: one worker thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "os/async_io.h"
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

  // Writes those pages of [first, first + count) that are isolated and not being written. Waits only while the
  // most writes are in flight. Returns how many pages it dealt with at once or began to write,
  // not those that went back into the guest for lack of slots.
  std::uint64_t write(region::GuestMemory& guest, std::uint64_t first, std::uint64_t count, base::Nanos now);
  // Ends the writes that have completed; with `wait`, all of them.
  void finish(bool wait, base::Nanos now);
  // Pages whose writes are in flight.
  std::uint64_t pages_in_flight() const noexcept { return in_flight_pages_; }
  os::AsyncIo::EventFds event_fds() const noexcept { return io_->event_fds(); }
  os::AsyncIo::Backend backend() const noexcept { return io_->backend(); }

 private:
  struct Write {
    region::GuestMemory* guest = nullptr;  // nullptr = unused
    std::uint64_t first = 0;
    std::uint64_t slot = 0;
    std::uint32_t count = 0;
    std::uint32_t tries = 0;
  };
  // What finishing does with pages that are still isolated.
  enum class End { written, dropped, failed };

  SwapOut(const SwapOutOptions& options, region::Notices& notices) : options_(options), notices_(notices) {}
  std::uint32_t write_run(region::GuestMemory& guest, std::uint64_t first, std::uint32_t count, base::Nanos now);
  std::uint32_t begin_write(region::GuestMemory& guest, std::uint64_t first, std::uint32_t count, base::Nanos now);
  void submit(std::size_t index);
  void complete(std::size_t index, int result, base::Nanos now);
  void end_pages(region::GuestMemory& guest, std::uint64_t first, std::uint32_t count, End end,
                 std::uint64_t slot, bool new_slots);
  bool free_slots(region::GuestMemory& guest);

  const SwapOutOptions options_;
  region::Notices& notices_;
  std::unique_ptr<os::AsyncIo> io_;
  std::vector<Write> writes_;
  std::uint64_t in_flight_pages_ = 0;
  unsigned queued_ = 0;  // writes not yet handed to the kernel
};

}  // namespace vmm::reclaim
