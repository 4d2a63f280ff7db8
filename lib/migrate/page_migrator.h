// PageMigrator: moves the pages of a guest that are not on its home node there, a slice at a time.
//
// One pass looks at every page that is in place or in staging; what is in the swap file or untouched comes to the home by
// itself when it is next touched. The page is moved by the kernel under the guest's hands: its threads go on, one that
// touches a page just then waits for it. Pages that a Pin covers or a device holds stay, and are counted; another pass
// may try them again.
// Thread-safety: one thread, the worker of the guest's home node, which is also who takes pages out of their place.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "region/guest_memory.h"

namespace vmm::migrate {

// Pages.
struct MigrationSlice {
  std::uint64_t looked = 0;
  std::uint64_t moved = 0;      // seen on the node after the move
  std::uint64_t pinned = 0;     // stayed: a Pin covers it, or somebody else refers to it just now
  std::uint64_t no_memory = 0;  // stayed: the node is full
  std::uint64_t refused = 0;    // stayed: for another reason, or the kernel does not tell where they are
  std::uint64_t needs = 0;      // the next page is huge and remote: nothing is moved for less than so many
  bool ended = false;           // the pass has come to the end of the guest
};

class PageMigrator {
 public:
  explicit PageMigrator(region::GuestMemory& guest) noexcept : guest_(guest) {}

  // The next slice begins a pass: to `node`, from the guest's first page on.
  void begin(int node) noexcept;
  bool under_way() const noexcept { return under_way_; }

  // Looks at up to a huge page's worth of pages, or some huge pages, and moves at most `most` of them. A huge page moves
  // whole or not at all. What finds the node full is looked at again by the next slice. Nothing when no pass is under
  // way.
  MigrationSlice step(std::uint64_t most) noexcept;
  // The same, but nothing is moved: what would be is counted as no_memory.
  MigrationSlice count() noexcept;

 private:
  struct Batch;
  bool is_whole_huge_page(std::uint64_t first) const noexcept;
  MigrationSlice move_huge_pages(std::uint64_t first, std::uint64_t most) noexcept;
  bool may_be_whole(std::uint64_t first) const noexcept;
  bool has_pins(std::uint64_t first) const noexcept;
  bool pins_a_huge_page(std::uint64_t page) const noexcept;
  bool may_move_whole(std::uint64_t first) const noexcept;
  std::uint64_t move_by_first_pages(std::uint64_t first, std::uint64_t most) noexcept;
  std::optional<std::array<int, 2>> nodes_of_ends(std::uint64_t first) const noexcept;
  std::uint64_t there(std::uint64_t first, std::uint64_t end) const noexcept;
  bool is_there(std::uint64_t page) const noexcept { return there(page, page + 1) != 0; }
  MigrationSlice look(std::uint64_t most) noexcept;
  std::byte* address_of(std::uint64_t page) const noexcept;
  bool is_on_node(std::uint64_t page) const noexcept;
  void move(const Batch& batch, std::uint64_t unit, MigrationSlice& slice) noexcept;
  MigrationSlice ended(MigrationSlice slice, std::uint64_t first) noexcept;

  region::GuestMemory& guest_;
  std::uint64_t next_ = 0;  // page
  int node_ = -1;
  bool under_way_ = false;
  bool counts_ = false;  // and moves nothing
};

}  // namespace vmm::migrate
