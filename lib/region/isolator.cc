#include "region/isolator.h"

#include <array>
#include <cerrno>
#include <cstring>

#include "region/guest_memory.h"
#include "region/move_run.h"

namespace vmm::region {
namespace {

// A write-protect marker in an empty place makes MOVE and COPY fail for ever. Takes it away if there is one.
bool remove_marker(GuestMemory& guest, std::uint64_t page) noexcept {
  std::uint8_t bits = 0;
  if (guest.pagemap().bits_from_pagemap(guest.at(page), 1, &bits) != 0 || bits != os::kMarker) return false;
  return guest.uffd().write_protect(guest.at(page), kPageSize, false) == 0;
}

class MoveIsolator final : public Isolator {
 public:
  int take(GuestMemory& guest, std::uint64_t first, std::uint64_t count, TakenSet& taken) noexcept override {
    taken.reset();
    std::uint64_t busy = 0;
    bool refused = false;
    int error = 0;
    for (std::uint64_t i = 0; i < count;) {
      const auto done = move_run(guest.staging_uffd(), guest.pagemap(), guest.staged(first + i), guest.at(first + i),
                                 (count - i) * kPageSize);
      const auto moved = done.bytes / kPageSize;
      for (std::uint64_t k = 0; k < moved; ++k) taken.set(i + k);
      i += moved;
      if (done.error == 0) break;
      refused = true;
      if (done.error == EINVAL || done.error == EPERM || done.error == ESRCH) {
        error = done.error;
        break;
      }
      // EBUSY, EAGAIN: pinned, shared by the kernel, or locked for the moment; ENOENT: nothing there. The rest
      // of the range is not concerned.
      if (done.error != ENOENT) ++busy;
      ++i;
    }
    if (refused) believe_tables(guest, first, count, taken);
    bump(guest.counters.busy_pages, busy);
    return error;
  }

  std::uint64_t give(GuestMemory& guest, std::uint64_t first, std::uint64_t count, int& error) noexcept override {
    error = 0;
    std::uint64_t given = 0;
    while (given < count) {
      const auto done = move_run(guest.uffd(), guest.pagemap(), guest.at(first + given), guest.staged(first + given),
                                 (count - given) * kPageSize);
      given += done.bytes / kPageSize;
      if (done.error == 0) break;
      if (done.error == EEXIST && remove_marker(guest, first + given)) continue;
      // Moved although refused, see believe_tables().
      if (!still_staged(guest, first + given)) {
        guest.wake(first + given, 1);
        ++given;
        continue;
      }
      // The staged page itself refuses to move (a reference from outside): its bytes do not.
      if (done.error == EBUSY || done.error == EAGAIN) {
        if (copy_back(guest, first + given) == 0) {
          os::drop_pages(guest.staged(first + given), kPageSize);
          ++given;
          continue;
        }
      }
      error = done.error;
      break;
    }
    return given;
  }

 private:
  static bool is_there(std::uint8_t bits) noexcept { return (bits & (os::kPresent | os::kSwapped)) != 0; }

  // Bits of pages of either area, from whichever source answers. False: unknown.
  static bool look(const GuestMemory& guest, const std::byte* start, std::uint64_t count, std::uint8_t* bits) noexcept {
    for (int tries = 0; tries < 64; ++tries)
      if (guest.pagemap().bits(start, count, bits) == 0 || guest.pagemap().bits_from_pagemap(start, count, bits) == 0)
        return true;
    return false;
  }

  // Adds to `taken` what left its place for staging by the kernel's page tables. A MOVE that was refused may have moved
  // a page more than it says (seen on Linux 6.18 while the kernel swaps the same pages out): taking its word would
  // leave those bytes behind and show zeros in their place. What is in both areas was not moved: mlockall fills staging.
  static void believe_tables(const GuestMemory& guest, std::uint64_t first, std::uint64_t count,
                             TakenSet& taken) noexcept {
    std::array<std::uint8_t, kMostTaken> staged, place;
    if (!look(guest, guest.staged(first), count, staged.data()) || !look(guest, guest.at(first), count, place.data()))
      return;
    for (std::uint64_t i = 0; i < count; ++i)
      if (is_there(staged[i]) && !is_there(place[i])) taken.set(i);
  }
  static bool still_staged(const GuestMemory& guest, std::uint64_t page) noexcept {
    std::uint8_t bits = 0;
    return !look(guest, guest.staged(page), 1, &bits) || is_there(bits);
  }
};

class CopyIsolator final : public Isolator {
 public:
  int take(GuestMemory& guest, std::uint64_t first, std::uint64_t count, TakenSet& taken) noexcept override {
    taken.reset();
    // From here on writers wait; the fault service holds their events because the pages are locked.
    if (const int e = guest.uffd().write_protect(guest.at(first), count * kPageSize, true)) return e;
    std::array<std::uint8_t, kMostTaken> bits;
    if (const int e = guest.pagemap().bits_from_pagemap(guest.at(first), count, bits.data())) {
      guest.uffd().write_protect(guest.at(first), count * kPageSize, false);
      return e;
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      if ((bits[i] & (os::kPresent | os::kSwapped)) == 0) continue;
      std::memcpy(guest.staged(first + i), guest.at(first + i), kPageSize);
      taken.set(i);
    }
    for (std::uint64_t i = 0; i < count;) {
      if (!taken[i]) {
        ++i;
        continue;
      }
      auto end = i + 1;
      while (end < count && taken[end]) ++end;
      if (const int e = os::drop_pages(guest.at(first + i), (end - i) * kPageSize)) {
        // Not dropped, so not taken: these pages are still the guest's.
        for (auto k = i; k < count; ++k) taken.reset(k);
        os::drop_pages(guest.staged(first + i), (count - i) * kPageSize);
        guest.uffd().write_protect(guest.at(first + i), (count - i) * kPageSize, false);
        return e;
      }
      i = end;
    }
    return 0;
  }

  std::uint64_t give(GuestMemory& guest, std::uint64_t first, std::uint64_t count, int& error) noexcept override {
    error = 0;
    std::uint64_t given = 0;
    while (given < count) {
      const auto done =
          guest.uffd().copy(guest.at(first + given), guest.staged(first + given), (count - given) * kPageSize, false);
      given += done.bytes / kPageSize;
      if (done.error == 0) break;
      if (done.error == EEXIST && remove_marker(guest, first + given)) continue;
      error = done.error;
      break;
    }
    if (given > 0) os::drop_pages(guest.staged(first), given * kPageSize);
    return given;
  }
};

}  // namespace

int Isolator::copy_back(GuestMemory& guest, std::uint64_t page) noexcept {
  auto done = guest.uffd().copy(guest.at(page), guest.staged(page), kPageSize, false);
  if (done.error == EEXIST && remove_marker(guest, page))
    done = guest.uffd().copy(guest.at(page), guest.staged(page), kPageSize, false);
  return done.error;
}

std::unique_ptr<Isolator> make_isolator(bool move) {
  if (move) return std::make_unique<MoveIsolator>();
  return std::make_unique<CopyIsolator>();
}

}  // namespace vmm::region
