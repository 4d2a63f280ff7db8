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
// Moved by one call: some 3 ms.
constexpr std::size_t kMostHuge = 4;

bool is_huge(const region::GuestMemory& guest, std::uint64_t chunk) noexcept {
  std::array<std::uint8_t, kChunk> bits;
  return guest.pagemap().bits(guest.at(chunk), kChunk, bits.data()) == 0 &&
         std::all_of(bits.begin(), bits.end(), [](auto b) { return (b & os::kHuge) != 0; });
}

}  // namespace

// Pages of one chunk that are to move.
struct PageMigrator::Batch {
  std::array<void*, kChunk> pages;
  std::array<std::uint64_t, kChunk> index;  // in the guest
  std::size_t count = 0;

  void add(void* page, std::uint64_t at) noexcept {
    pages[count] = page;
    index[count++] = at;
  }
};

void PageMigrator::begin(int node) noexcept {
  next_ = 0;
  node_ = node;
  under_way_ = true;
}

MigrationSlice PageMigrator::step(std::uint64_t most) noexcept {
  counts_ = false;
  return look(most);
}

MigrationSlice PageMigrator::count() noexcept {
  counts_ = true;
  return look(kMostHuge * kChunk);
}

MigrationSlice PageMigrator::look(std::uint64_t most) noexcept {
  MigrationSlice slice;
  if (!under_way_ || most == 0) return slice;
  const auto first = next_;
  auto end = std::min(first - first % kChunk + kChunk, guest_.pages());
  if (is_whole_huge_page(first)) return move_huge_pages(first, most);
  if (!counts_) slice.moved = move_by_first_page(first);
  if (slice.moved >= most) {
    next_ = first + slice.moved;
    return ended(slice, first);
  }
  most -= slice.moved;
  Batch batch;
  std::array<int, kChunk> nodes;
  for (auto page = first; page < end; ++page) batch.add(address_of(page), page);
  if (os::nodes_of_pages(batch.pages.data(), batch.count, nodes.data()) != 0) {
    // Nothing is known of them: left to another pass.
    slice.refused = end - first;
    next_ = end;
    return ended(slice, first);
  }
  // A page that may be part of a huge one would take that along, pins included.
  const bool all_pinned = pins_a_huge_page(first);
  const auto is_pinned = [&](std::uint64_t page) { return all_pinned || guest_.table.load(page).pinned(); };
  const auto asked = batch;
  batch.count = 0;
  for (std::size_t i = 0; i < asked.count && batch.count < most; ++i) {
    if (nodes[i] < 0 || nodes[i] == node_) continue;
    if (is_pinned(asked.index[i])) ++slice.pinned;
    else batch.add(asked.pages[i], asked.index[i]);
    if (batch.count == most) end = asked.index[i] + 1;
  }
  next_ = end;
  move(batch, 1, slice);
  return ended(slice, first);
}

// In its place, or in staging.
std::byte* PageMigrator::address_of(std::uint64_t page) const noexcept {
  return guest_.table.load(page).state() == region::PageState::isolated ? guest_.staged(page) : guest_.at(page);
}

// A huge page, none of which is pinned, is asked for and moved by one address.
bool PageMigrator::is_whole_huge_page(std::uint64_t first) const noexcept {
  return may_be_whole(first) && is_huge(guest_, first);
}

bool PageMigrator::may_be_whole(std::uint64_t first) const noexcept {
  return guest_.options().large_pages && first % kChunk == 0 && first + kChunk <= guest_.pages() && !has_pins(first);
}

bool PageMigrator::has_pins(std::uint64_t first) const noexcept {
  const auto end = std::min(first + kChunk, guest_.pages());
  for (auto page = first; page < end; ++page)
    if (guest_.table.load(page).pinned()) return true;
  return false;
}

// Whether the page is in a chunk with pins that is a huge page, or may be one for all that the kernel tells.
bool PageMigrator::pins_a_huge_page(std::uint64_t page) const noexcept {
  const auto first = page - page % kChunk;
  if (!guest_.options().large_pages || first + kChunk > guest_.pages() || !has_pins(first)) return false;
  return !guest_.pagemap().has_scan() || is_huge(guest_, first);
}

// Where the kernel does not tell huge pages: a chunk was one if its last page has moved by its first. Returns how many
// pages have moved: all, the first, or none.
std::uint64_t PageMigrator::move_by_first_page(std::uint64_t first) const noexcept {
  if (guest_.pagemap().has_scan() || !may_be_whole(first)) return 0;
  void* const ends[] = {guest_.at(first), guest_.at(first + kChunk - 1)};
  int nodes[2] = {}, status = 0;
  if (os::nodes_of_pages(ends, 2, nodes) != 0 || nodes[0] < 0 || nodes[0] == node_ || nodes[1] != nodes[0]) return 0;
  os::move_pages_to(ends, 1, node_, &status);
  if (os::nodes_of_pages(ends, 2, nodes) != 0 || nodes[0] != node_) return 0;
  return nodes[1] == node_ ? kChunk : 1;
}

// One, or more of them if so much may be moved: each call costs something of its own.
MigrationSlice PageMigrator::move_huge_pages(std::uint64_t first, std::uint64_t most) noexcept {
  MigrationSlice slice;
  Batch asked, batch;
  next_ = first;
  do {
    asked.add(guest_.at(next_), next_);
    next_ += kChunk;
  } while (asked.count < kMostHuge && (asked.count + 1) * kChunk <= most && is_whole_huge_page(next_));
  std::array<int, kChunk> nodes;
  if (os::nodes_of_pages(asked.pages.data(), asked.count, nodes.data()) != 0) {
    slice.refused = asked.count * kChunk;
    return ended(slice, first);
  }
  for (std::size_t i = 0; i < asked.count; ++i)
    if (nodes[i] >= 0 && nodes[i] != node_) batch.add(asked.pages[i], asked.index[i]);
  move(batch, kChunk, slice);
  return ended(slice, first);
}

MigrationSlice PageMigrator::ended(MigrationSlice slice, std::uint64_t first) noexcept {
  slice.looked = next_ - first;
  slice.ended = next_ >= guest_.pages();
  under_way_ = !slice.ended;
  return slice;
}

// Each page of the batch stands for `unit`.
void PageMigrator::move(const Batch& batch, std::uint64_t unit, MigrationSlice& slice) noexcept {
  if (batch.count == 0) return;
  if (counts_) {
    slice.no_memory += batch.count * unit;
    return;
  }
  std::array<int, kChunk> nodes, status;
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

}  // namespace vmm::migrate
