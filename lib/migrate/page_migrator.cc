#include "migrate/page_migrator.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "os/page_nodes.h"
#include "os/pagemap.h"

namespace vmm::migrate {
namespace {

constexpr std::uint64_t kChunk = kHugePageSize / kPageSize;
static_assert(kChunk <= os::kMostPagesAsked);

// Pages of one chunk that are to move.
struct Batch {
  std::array<void*, kChunk> pages;
  std::array<std::uint64_t, kChunk> index;  // in the guest
  std::size_t count = 0;

  void add(void* page, std::uint64_t at) noexcept {
    pages[count] = page;
    index[count++] = at;
  }
};

bool is_huge(const region::GuestMemory& guest, std::uint64_t chunk) noexcept {
  std::array<std::uint8_t, kChunk> bits;
  return guest.pagemap().bits(guest.at(chunk), kChunk, bits.data()) == 0 &&
         std::all_of(bits.begin(), bits.end(), [](auto b) { return (b & os::kHuge) != 0; });
}

}  // namespace

void PageMigrator::begin(int node) noexcept {
  next_ = 0;
  node_ = node;
  under_way_ = true;
}

MigrationSlice PageMigrator::step(std::uint64_t most) noexcept {
  MigrationSlice slice;
  if (!under_way_ || most == 0) return slice;
  const auto first = next_;
  auto end = std::min(first - first % kChunk + kChunk, guest_.pages());
  Batch batch;
  std::array<int, kChunk> nodes;
  for (auto page = first; page < end; ++page) batch.add(guest_.at(page), page);
  if (os::nodes_of_pages(batch.pages.data(), batch.count, nodes.data()) != 0) {
    // Nothing is known of them: left to another pass.
    slice.refused = end - first;
    batch.count = 0;
  }
  const auto asked = batch.count;
  batch.count = 0;
  std::uint64_t pinned = 0;
  for (std::size_t i = 0; i < asked; ++i) {
    if (nodes[i] < 0 || nodes[i] == node_) continue;
    const auto page = first + i;
    if (guest_.table.load(page).pinned()) {
      ++pinned;
      continue;
    }
    batch.add(guest_.at(page), page);
  }
  std::uint64_t unit = 1;  // pages that each of the batch stands for
  if (batch.count == kChunk && is_huge(guest_, first)) {
    unit = kChunk;
    batch.count = 1;
  } else if (batch.count > most) {
    batch.count = most;
    end = batch.index[most - 1] + 1;
    // Pins behind it are the next slice's.
    pinned = 0;
    for (auto page = first; page < end; ++page)
      if (const int at = nodes[page - first]; at >= 0 && at != node_ && guest_.table.load(page).pinned()) ++pinned;
  }
  slice.pinned = pinned;
  next_ = end;
  if (batch.count > 0) {
    std::array<int, kChunk> status;
    const int error = os::move_pages_to(batch.pages.data(), batch.count, node_, status.data());
    const bool known = os::nodes_of_pages(batch.pages.data(), batch.count, nodes.data()) == 0;
    for (std::size_t i = 0; i < batch.count; ++i) {
      if (known && nodes[i] == node_) {
        slice.moved += unit;
        continue;
      }
      if (known && (nodes[i] == -ENOENT || nodes[i] == -EFAULT)) continue;  // it has left its place meanwhile
      const int why = status[i] != os::kUntold && status[i] < 0 ? -status[i] : error;
      if (why == ENOMEM) {
        if (slice.no_memory == 0) next_ = batch.index[i];
        slice.no_memory += unit;
      } else if (why == EBUSY || why == EAGAIN || why == 0) {
        slice.pinned += unit;
      } else {
        slice.refused += unit;
      }
    }
  }
  slice.looked = next_ - first;
  slice.ended = next_ >= guest_.pages();
  under_way_ = !slice.ended;
  return slice;
}

}  // namespace vmm::migrate
