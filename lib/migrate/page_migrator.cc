#include "migrate/page_migrator.h"

#include <algorithm>
#include <array>
#include <bitset>
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

// The page has left its place meanwhile, as far as the kernel tells.
bool left(bool known, int node) noexcept { return known && (node == -ENOENT || node == -EFAULT); }

}  // namespace

// Pages of one chunk that are to move.
struct PageMigrator::Batch {
  std::array<void*, kChunk> pages;
  std::array<std::uint64_t, kChunk> index;  // in the guest
  std::bitset<kChunk> untold;               // the kernel has not told where it is
  std::size_t count = 0;

  void add(void* page, std::uint64_t at, bool is_untold = false) noexcept {
    pages[count] = page;
    index[count] = at;
    untold[count++] = is_untold;
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
  if (!counts_ && may_move_whole(first)) {
    if (most < kChunk) {
      slice.needs = kChunk;
      return slice;
    }
    slice.moved = move_by_first_pages(first, most);
  }
  // Of what has moved whole there is nothing to be asked page by page.
  if (next_ != first) return ended(slice, first);
  most -= slice.moved;
  Batch asked, batch;
  std::array<int, kChunk> nodes;
  for (auto page = first; page < end; ++page) asked.add(address_of(page), page);
  if (os::nodes_of_pages(asked.pages.data(), asked.count, nodes.data()) != 0) {
    // Nothing is known of them: left to another pass.
    slice.refused = there(first, end);
    next_ = end;
    return ended(slice, first);
  }
  // A page that may be part of a huge one would take that along, pins included.
  const bool all_pinned = pins_a_huge_page(first);
  std::bitset<kChunk> pinned;
  for (std::size_t i = 0; i < asked.count && batch.count < most; ++i) {
    // With NUMA balancing on it may be there all the same: that it is not is said by nobody but the page table.
    const auto word = guest_.table.load(asked.index[i]);
    const bool untold = !counts_ && nodes[i] == -ENOENT && word.state() == region::PageState::resident;
    // A frame is where its store is.
    if ((nodes[i] < 0 && !untold) || nodes[i] == node_ || word.state() == region::PageState::shared) continue;
    if (all_pinned || word.pinned()) pinned[i] = !untold;
    else batch.add(asked.pages[i], asked.index[i], untold);
    if (batch.count == most) end = asked.index[i] + 1;
  }
  next_ = end;
  move(batch, 1, slice);
  // What comes after a page that found no room is looked at, and counted, once more.
  for (std::size_t i = 0; i < asked.count && asked.index[i] < next_; ++i) slice.pinned += pinned[i] ? 1 : 0;
  return ended(slice, first);
}

// In its place, or in staging.
std::byte* PageMigrator::address_of(std::uint64_t page) const noexcept {
  return guest_.table.load(page).state() == region::PageState::isolated ? guest_.staged(page) : guest_.at(page);
}

// A huge page, none of which is pinned, is asked for and moved by one address.
bool PageMigrator::is_whole_huge_page(std::uint64_t first) const noexcept {
  return guest_.pagemap().has_scan() && may_be_whole(first) && is_huge(guest_, first);
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

// Where the kernel does not tell huge pages: whether the chunk may be one that is to move.
bool PageMigrator::may_move_whole(std::uint64_t first) const noexcept {
  if (guest_.pagemap().has_scan() || !may_be_whole(first)) return false;
  const auto nodes = nodes_of_ends(first);
  return nodes && nodes->front() >= 0 && nodes->front() != node_ && nodes->back() == nodes->front();
}

// A chunk was one if its last page has moved by its first; next_ goes past those up to the first that was not. Returns
// how many pages have moved: of each all, the first, or none.
std::uint64_t PageMigrator::move_by_first_pages(std::uint64_t first, std::uint64_t most) noexcept {
  std::array<void*, kMostHuge> pages;
  std::array<int, kMostHuge> status;
  std::size_t count = 0;
  do pages[count] = guest_.at(first + count * kChunk);
  while (++count < kMostHuge && (count + 1) * kChunk <= most && may_move_whole(first + count * kChunk));
  os::move_pages_to(pages.data(), count, node_, status.data());
  std::uint64_t moved = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto chunk = first + i * kChunk;
    const auto nodes = nodes_of_ends(chunk);
    const bool here = nodes && nodes->front() == node_, whole = here && nodes->back() == node_;
    moved += whole ? kChunk : here ? 1 : 0;
    if (whole && next_ == chunk) next_ = chunk + kChunk;
  }
  return moved;
}

// Of the first page of the chunk, and of the last.
std::optional<std::array<int, 2>> PageMigrator::nodes_of_ends(std::uint64_t first) const noexcept {
  void* const ends[] = {guest_.at(first), guest_.at(first + kChunk - 1)};
  std::array<int, 2> nodes;
  if (os::nodes_of_pages(ends, 2, nodes.data()) != 0) return std::nullopt;
  return nodes;
}

// How many of the pages are in place or in staging, as far as anybody tells.
std::uint64_t PageMigrator::there(std::uint64_t first, std::uint64_t end) const noexcept {
  std::array<std::uint8_t, kChunk> bits;
  if (guest_.pagemap().bits(guest_.at(first), end - first, bits.data()) != 0) bits.fill(os::kPresent);
  std::uint64_t count = 0;
  for (auto page = first; page < end; ++page)
    count += guest_.table.load(page).state() == region::PageState::isolated || (bits[page - first] & os::kPresent) != 0;
  return count;
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
  if (batch.count > 0 && most < kChunk) {
    next_ = first;
    slice.needs = kChunk;
    return slice;
  }
  move(batch, kChunk, slice);
  return ended(slice, first);
}

MigrationSlice PageMigrator::ended(MigrationSlice slice, std::uint64_t first) noexcept {
  slice.looked = next_ - first;
  slice.ended = next_ >= guest_.pages();
  under_way_ = !slice.ended;
  return slice;
}

// Each page of the batch stands for `unit`. What comes after a page that found no room is not counted but where it has
// moved, and is what the next slice looks at.
void PageMigrator::move(const Batch& batch, std::uint64_t unit, MigrationSlice& slice) noexcept {
  if (batch.count == 0) return;
  if (counts_) {
    slice.no_memory += batch.count * unit;
    return;
  }
  std::array<int, kChunk> nodes, status;
  const int error = os::move_pages_to(batch.pages.data(), batch.count, node_, status.data());
  const bool known = os::nodes_of_pages(batch.pages.data(), batch.count, nodes.data()) == 0;
  const auto reason = [&](std::size_t i) {
    return status[i] != os::kUntold && status[i] < 0 ? -status[i] : error;
  };
  for (std::size_t i = 0; i < batch.count; ++i) {
    if (known && nodes[i] == node_) {
      const bool whole = unit == 1 || is_on_node(batch.index[i] + unit - 1);
      if (!batch.untold[i]) slice.moved += whole ? unit : 1;
      // It was split just then: the rest is looked at page by page.
      if (!whole) next_ = std::min(next_, batch.index[i]);
    } else if (reason(i) == ENOMEM && !left(known, nodes[i])) {
      next_ = std::min(next_, batch.index[i]);
      slice.no_memory = unit;
    }
  }
  for (std::size_t i = 0; i < batch.count && batch.index[i] < next_; ++i) {
    if (known && nodes[i] == node_) continue;
    if (left(known, nodes[i])) {
      if (batch.untold[i] && is_there(batch.index[i])) slice.refused += unit;
      continue;
    }
    const int why = reason(i);
    if (why == EBUSY || why == EAGAIN || why == 0) slice.pinned += unit;
    else slice.refused += unit;
  }
}

bool PageMigrator::is_on_node(std::uint64_t page) const noexcept {
  void* const address = address_of(page);
  int node = -1;
  return os::nodes_of_pages(&address, 1, &node) == 0 && node == node_;
}

}  // namespace vmm::migrate
