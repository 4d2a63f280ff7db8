// SwapIn: brings pages back from the swap files of one node's guests, asynchronously, on its fault thread.
//
// A read covers a run of pages whose slots are neighbours; the words of its pages stay locked until it ends.
// The bytes come into buffers of the library's own, are checked against their checksums, and are copied into
// place write-protected, so that an unchanged page is known to be in its slot still. When more reads ahead have come
// than the fault thread can copy at once, a helper of its own copies some of them.
// Thread-safety: created by one thread, then used by one fault thread; nothing allocates, logs or waits there.
// put_in_place() and what it calls run in the helper too.
#pragma once

#include <array>
#include <atomic>
#include <memory>

#include "os/async_io.h"
#include "os/mapping.h"
#include "reclaim/placer.h"
#include "region/credit.h"
#include "region/guest_memory.h"
#include "region/notice.h"
#include "region/page_source.h"
#include "vmm/options.h"

namespace vmm::reclaim {

struct SwapInOptions {
  int node = 0;
  SwapIo io = SwapIo::automatic;
  std::uint32_t batch_pages = 64;     // most pages a read
};

class SwapIn final : public region::PageSource {
 public:
  // Errors: those of AsyncIo, ENOMEM.
  static Result<std::unique_ptr<SwapIn>> create(const SwapInOptions& options, region::Credit& credit,
                                                region::Notices& notices);

  region::Outcome start(region::GuestMemory& guest, std::uint64_t page, base::Nanos since,
                        bool demand) noexcept override;
  void touched(region::GuestMemory& guest, std::uint64_t page) noexcept override;
  bool pump(region::GuestMemory& guest, std::uint64_t& next, std::uint64_t end) noexcept override;
  std::array<int, 2> event_fds() const noexcept override { return io_->event_fds(); }
  bool reap(std::atomic<std::uint64_t>& working_on) noexcept override;
  void flush() noexcept override;
  bool awaited() noexcept override;
  unsigned in_flight(const region::GuestMemory& guest) noexcept override;
  bool left() const noexcept override { return placer_.waiting(); }
  void set_bell(const os::Doorbell& bell) noexcept override { placer_.set_bell(bell); }
  void end_helping() noexcept override { placer_.end(); }
  region::FaultProgress helper_progress() const noexcept override {
    return {helped_.load(std::memory_order_relaxed), helper_address_.load(std::memory_order_relaxed)};
  }

  // Memory of the buffers, in bytes, all of it touched at some time.
  static constexpr std::uint64_t buffer_bytes() noexcept { return kLarge * kLargeBytes + kSmall * kPageSize; }
  os::AsyncIo::Backend backend() const noexcept { return io_->backend(); }

 private:
  static constexpr std::size_t kLarge = Placer::kReads, kSmall = 48;
  static constexpr std::uint64_t kLargeBytes = 64 * kPageSize;
  // Large buffers that only faults get, never reads ahead.
  static constexpr std::size_t kForDemand = 4;

  enum class Why : std::uint8_t { demand, ahead, prefetch };  // demand: somebody waits for the first page

  // One read; its index is the tag of the request, and the first kLarge have large buffers.
  struct Read {
    region::GuestMemory* guest = nullptr;  // nullptr = unused
    std::uint64_t first = 0;
    std::uint32_t count = 0;
    std::uint32_t tries = 0;
    base::Nanos since{};
    Why why = Why::demand;
  };

  SwapIn(const SwapInOptions& options, region::Credit& credit, region::Notices& notices)
      : options_(options), credit_(credit), notices_(notices) {}
  std::byte* buffer(std::size_t index) const noexcept;
  std::size_t find_unused(std::size_t from, std::size_t to) const noexcept;
  std::size_t unused_large() const noexcept;
  region::Outcome begin(region::GuestMemory& guest, std::uint64_t first, std::uint32_t most, base::Nanos since,
                        Why why) noexcept;
  void read_ahead(region::GuestMemory& guest, std::uint64_t from, std::uint64_t to, std::uint32_t pages) noexcept;
  bool submit(std::size_t index) noexcept;
  void complete(std::size_t index, int result) noexcept;
  void collect() noexcept;
  void collect_and_watch() noexcept;
  bool leave_to_any(std::size_t index, int result) noexcept;
  void put_in_place(std::size_t index, std::uint32_t known_good = 0) noexcept;
  void help(std::size_t index) noexcept;
  void place(const Read& read, const std::byte* bytes, std::uint32_t from, std::uint32_t to) noexcept;
  void put_back(const Read& read, std::uint32_t from, std::uint32_t to) noexcept;
  void lose(Read& read, int error) noexcept;
  bool good(const Read& read, std::uint32_t index, const std::byte* bytes) const noexcept;

  const SwapInOptions options_;
  region::Credit& credit_;
  region::Notices& notices_;
  std::unique_ptr<os::AsyncIo> io_;
  os::Mapping buffers_;
  // What the helper reads of one is written before the read is left to it, and not until it is collected.
  std::array<Read, kLarge + kSmall> reads_;
  bool submitted_ = false;
  std::atomic<std::uint64_t> helped_{0};
  std::atomic<std::uint64_t> helper_address_{0};
  Placer placer_;  // last: its helper uses the above
};

}  // namespace vmm::reclaim
