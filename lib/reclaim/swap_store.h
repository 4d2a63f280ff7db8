// SwapStore: one guest's swap file with its slots, and whether it can be written at present.
// Thread-safety: the secret is immutable; slots is thread-safe, file as it says; the failure state is atomic.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/clock.h"
#include "reclaim/slot_map.h"
#include "reclaim/swap_file.h"
#include "region/guest_memory.h"

namespace vmm::reclaim {

class SwapStore final : public region::BackingStore {
 public:
  // Errors: those of SwapFile and SlotMap.
  // It can grow to `most` bytes (0: it cannot).
  static Result<std::unique_ptr<SwapStore>> create(const SwapFileOptions& options, std::uint64_t secret,
                                                   std::uint64_t most = 0) {
    auto file = SwapFile::create(options);
    if (!file) return tl::unexpected(file.error());
    auto slots = SlotMap::create(options.bytes / kPageSize, most / kPageSize);
    if (!slots) return tl::unexpected(slots.error());
    return std::unique_ptr<SwapStore>(new SwapStore(std::move(*file), std::move(*slots), secret));
  }

  // Makes room for `bytes`. By one thread at a time. Errors: those of SwapFile; on error it is as it was.
  Result<void> grow(const SwapFileOptions& options) {
    if (auto r = file.grow(options); !r) return r;
    slots.grow(options.bytes / kPageSize);
    return {};
  }

  static SwapStore& of(const region::GuestMemory& guest) noexcept { return static_cast<SwapStore&>(*guest.backing); }

  void free_slot(std::uint64_t slot) noexcept override { slots.free(slot, 1); }
  void left_in_staging() noexcept override { stranded = true; }

  // Writes are tried: always, but for a while after one failed.
  bool writable(base::Nanos now) const noexcept { return now.count() >= retry_at_.load(std::memory_order_relaxed); }
  bool failed() const noexcept { return retry_at_.load(std::memory_order_relaxed) != 0; }
  // True if this changed the state.
  bool set_failed(base::Nanos retry_at) noexcept { return retry_at_.exchange(retry_at.count()) == 0; }
  bool set_working() noexcept { return failed() && retry_at_.exchange(0) != 0; }

  std::uint64_t metadata_bytes() const noexcept { return slots.slots() * 8 + slots.slots() / 8; }

  SwapFile file;
  SlotMap slots;
  const std::uint64_t secret;
  // The worker's.
  std::uint64_t strip_hand = 0;  // where it last took a slot from a resident page
  bool stranded = false;         // pages are still staged after their writes have ended

 private:
  SwapStore(SwapFile f, SlotMap s, std::uint64_t key) noexcept
      : file(std::move(f)), slots(std::move(s)), secret(key) {}

  std::atomic<base::Nanos::rep> retry_at_{0};  // 0 = no failure
};

}  // namespace vmm::reclaim
