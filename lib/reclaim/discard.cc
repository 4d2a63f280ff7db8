#include "reclaim/discard.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/error.h"
#include "reclaim/drop_locked.h"

namespace vmm::reclaim {

using region::GuestMemory;
using region::PageState;
using region::PageWord;

namespace {

constexpr std::uint64_t kBatch = 512;

}  // namespace

Result<void> discard(GuestMemory& guest, region::Pins& pins, std::uint64_t first, std::uint64_t pages) {
  const auto failed = [&](int error) {
    return base::fail_errno(error, "madvise(MADV_DONTNEED) of guest \"" + guest.name() + "\"",
                            "the kernel refuses to drop these pages");
  };
  {
    base::MutexLock control(guest.control);
    if (!guest.managed()) {
      base::MutexLock lock(pins.mutex());
      if (pins.any_locked(first, pages))
        return base::fail(Errc::pages_pinned, "discard of guest \"" + guest.name() + "\"", "release the pins first");
      if (const int e = os::drop_pages(guest.at(first), pages * kPageSize)) return failed(e);
      return {};
    }
  }
  base::MutexLock lock(pins.mutex());
  if (pins.any_locked(first, pages))
    return base::fail(Errc::pages_pinned, "discard of guest \"" + guest.name() + "\"", "release the pins first");
  std::array<PageWord, kBatch> words;
  for (std::uint64_t at = 0; at < pages; at += kBatch) {
    const auto count = std::min(kBatch, pages - at);
    for (std::uint64_t i = 0; i < count; ++i) words[i] = guest.table.lock(first + at + i);
    const int error = drop_locked(guest, first + at, count, words.data(), PageState::empty).error;
    for (std::uint64_t i = 0; i < count; ++i) guest.table.unlock(first + at + i, words[i]);
    guest.table.released();
    if (error != 0) return failed(error);
  }
  return {};
}

}  // namespace vmm::reclaim
