// StagingTables: gives the page tables of a guest's staging area back. Whose pages are shared have left it empty, but
// the kernel keeps a table for each 2 MiB that has ever held one: 4 KiB for what may be a single page saved. Where all
// of its memory is dropped at once it lets go of the table as well (Linux 6.14 and later; before, nothing is gained).
// Thread-safety: one thread, the guest's worker.
#pragma once

#include <cstdint>
#include <vector>

#include "region/guest_memory.h"
#include "sharing/deadline.h"

namespace vmm::sharing {

class StagingTables {
 public:
  // Throws std::bad_alloc.
  explicit StagingTables(region::GuestMemory& guest);

  // Pages [first, first + count) have left staging.
  void emptied(std::uint64_t first, std::uint64_t count) noexcept;
  // Gives back the tables that [first, first + count) is part of, while time permits, where pages have left staging and
  // none is there. The caller has no words locked; where somebody has one, that table is left for another time.
  void give_back(std::uint64_t first, std::uint64_t count, const Deadline& deadline) noexcept;
  // Goes on with all of them, from where it was when time was over last. True at the end; the next time begins anew.
  bool give_back_next(const Deadline& deadline) noexcept;

 private:
  std::uint64_t end_of(std::uint64_t first, std::uint64_t count) const noexcept;
  void give_back(std::uint64_t table) noexcept;

  region::GuestMemory& guest_;
  std::vector<bool> emptied_;  // by table
  std::uint64_t left_ = 0;     // of them
  std::uint64_t hand_ = 0;     // table: of give_back_next()
};

}  // namespace vmm::sharing
