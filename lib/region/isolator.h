// Isolator: takes pages out of a guest into its staging area and gives them back. Two ways, chosen by what
// the kernel has: UFFDIO_MOVE, or write-protect, copy and drop.
//
// The caller holds the lock of every page named, and changes their words. Pages that came out of a guest are
// only ever given back to their own place or freed: a pipe may still refer to them.
// Thread-safety: stateless; give() and copy_back() may be called from fault threads.
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>

namespace vmm::region {

class GuestMemory;

inline constexpr std::uint64_t kMostTaken = 512;  // a huge page
using TakenSet = std::bitset<kMostTaken>;

class Isolator {
 public:
  virtual ~Isolator() = default;

  // Takes [first, first + count), count <= kMostTaken; taken[i] tells whether page first + i now is in staging.
  // Pages that are missing or that the kernel refuses (EBUSY: pinned by a device, or shared) stay.
  // Returns 0, or the errno that made the kernel refuse the whole range (EINVAL: mlock or protection differ).
  virtual int take(GuestMemory& guest, std::uint64_t first, std::uint64_t count, TakenSet& taken) noexcept = 0;

  // Puts [first, first + count) back from staging and wakes who waits; their staging is free then. Returns how
  // many pages from `first` on were put back; the next one failed with `error`, and is still in staging.
  virtual std::uint64_t give(GuestMemory& guest, std::uint64_t first, std::uint64_t count, int& error) noexcept = 0;

  // Puts a copy of one staged page into the guest, with `protect` write-protected, and leaves the staged one.
  // Returns an errno.
  int copy_back(GuestMemory& guest, std::uint64_t page, bool protect = false) noexcept;
};

std::unique_ptr<Isolator> make_isolator(bool move);

}  // namespace vmm::region
