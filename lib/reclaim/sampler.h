// Sampler: watches random pages of one guest for a period and tells how many of them were touched.
//
// A watched page is isolated in staging, so that a touch is a fault; the fault service takes the watch off its word and
// gives it back (region::Watch). What is swapped, empty or in staging anyway gets the watch only. A huge page is taken
// whole and stays huge: whichever of its pages is touched, all samples in it count. Pinned pages count as touched,
// since their owner says they are in use and they cannot be taken. Pages that the kernel refuses or that somebody works
// on are replaced by others; one that a failed write has put back untouched counts no more.
//
// Before GuestMemory::unmanage() the period must be ended, since that needs an empty staging area. A guest that ends
// needs nothing: what is in staging goes with it.
// Thread-safety: the worker of the guest's node. The guest outlives it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "policy/active_memory.h"
#include "reclaim/evictor.h"
#include "region/guest_memory.h"

namespace vmm::reclaim {

class Sampler {
 public:
  explicit Sampler(region::GuestMemory& guest) noexcept : guest_(guest) {}

  // Begins a period with `pages` different random pages, or all that the guest has; ends the one under way. Returns how
  // many it found: none in a guest that is not managed and adopted, where a touch is no fault.
  // May throw std::bad_alloc: the sample then has fewer pages, and all of them are known.
  std::uint64_t begin(std::uint64_t pages, base::Nanos now, base::Random& random);

  // The period until now. Looks at one word a page, at 512 for an untouched huge page.
  policy::ActiveSample so_far() noexcept;
  std::uint64_t touched() noexcept { return so_far().touched; }
  // Pages chosen, those included that count no more.
  std::uint64_t size() const noexcept;

  // Ends the period: nothing is watched any longer, and what waits in staging for its touch is in place again.
  policy::ActiveSample end() noexcept;

  // Pages that are in staging because they are watched and were not handed on: not on their way out of memory.
  std::uint64_t parked() const noexcept;

  // Memory is short, and these are the coldest pages known: hands them to the evictor, to be written by their age,
  // never more than `most`, for what is reserved stays. They remain watched, wherever they go. Returns how many pages.
  std::uint64_t release_parked(Evictor& evictor, base::Nanos now, std::uint64_t most);

  // The evictor has made its list anew: what is watched and its own, because it was handed on or was parked before the
  // period began, goes into it again. Otherwise it would count as leaving memory, and nobody would write it.
  void hand_on_again(Evictor& evictor);

 private:
  // What is watched as one: a page, or a huge page.
  struct Unit {
    std::uint64_t first = 0;
    std::uint32_t count = 1;
    std::uint32_t samples = 1;  // chosen pages in it
    bool taken = false;         // isolated by the sampler
    bool handed = false;        // to the evictor
    bool touched = false;
  };
  enum class Fate : std::uint8_t { untouched, touched, put_back };

  bool watch(std::uint64_t page);
  bool watch_small(std::uint64_t page, std::uint8_t bits);
  bool watch_huge(std::uint64_t page, const std::uint8_t* bits, region::PageState state);
  bool all_huge(const std::byte* chunk, std::uint8_t* bits) const noexcept;
  Fate fate(const Unit& unit) const noexcept;
  std::uint64_t waiting(const Unit& unit) const noexcept;
  std::uint64_t isolated(const Unit& unit) const noexcept;
  void give_back(const Unit& unit) noexcept;

  region::GuestMemory& guest_;
  std::vector<Unit> units_;
  base::Nanos since_{};
};

}  // namespace vmm::reclaim
