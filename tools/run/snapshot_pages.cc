#include "snapshot_pages.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "reclaim/checksum.h"
#include "reclaim/swap_store.h"
#include "vmm/units.h"

namespace vmm::run {

using region::PageState;
using region::PageWord;

bool is_present(const std::byte* address) noexcept {
  // A descriptor of the parent's would show the parent's memory.
  const int fd = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  std::uint64_t entry = 0;
  const auto offset = reinterpret_cast<std::uintptr_t>(address) / kPageSize * sizeof(entry);
  const bool read = ::pread(fd, &entry, sizeof(entry), static_cast<off_t>(offset)) == sizeof(entry);
  ::close(fd);
  constexpr std::uint64_t kPresent = std::uint64_t{1} << 63, kSwapped = std::uint64_t{1} << 62;
  return read && (entry & (kPresent | kSwapped)) != 0;
}

std::uint64_t SnapshotPages::next_missing(std::uint64_t page) const noexcept {
  for (; page < guest_.pages(); ++page) {
    const PageWord word = guest_.table.load(page);
    switch (word.state()) {
      case PageState::native:
      case PageState::empty:
      case PageState::ballooned: continue;
      case PageState::resident:
        if (!word.locked()) continue;
        return page;
      default: return page;
    }
  }
  return page;
}

bool SnapshotPages::any_missing() const noexcept { return guest_.managed() && next_missing(0) < guest_.pages(); }

bool SnapshotPages::staged_here(std::uint64_t page) const noexcept { return is_present(guest_.staged(page)); }

SnapshotPages::Found SnapshotPages::fetch(std::uint64_t page, std::byte* buffer) const noexcept {
  const PageWord word = guest_.table.load(page);
  const auto from_staging = [&] {
    std::memcpy(buffer, guest_.staged(page), kPageSize);
    return Found::bytes;
  };
  switch (word.state()) {
    case PageState::native:
    case PageState::empty:
    case PageState::ballooned: return Found::zeros;
    case PageState::isolated: return staged_here(page) ? from_staging() : Found::gone;
    // On its way out or dropped. While a write of it is under way, staging holds an original that may be older.
    case PageState::resident:
      return word.locked() && !word.writing() && staged_here(page) ? from_staging() : Found::gone;
    case PageState::swapped:
      if (staged_here(page)) return from_staging();
      return read_slot(page, word, buffer) ? Found::bytes : Found::gone;
    default: return Found::gone;
  }
}

bool SnapshotPages::read_slot(std::uint64_t page, PageWord word, std::byte* buffer) const noexcept {
  const auto& store = reclaim::SwapStore::of(guest_);
  if (!word.has_slot() || word.slot() >= store.slots.slots()) return false;
  const auto offset = static_cast<off_t>(word.slot() * kPageSize);
  if (::pread(store.file.fd(), buffer, kPageSize, offset) != static_cast<ssize_t>(kPageSize)) return false;
  return reclaim::page_checksum(store.secret, guest_.id(), page, word.generation(), buffer) ==
         store.slots.checksum(word.slot());
}

}  // namespace vmm::run
