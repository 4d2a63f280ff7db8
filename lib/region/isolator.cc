#include "region/isolator.h"

#include <array>
#include <cerrno>
#include <cstring>

#include "os/affinity.h"
#include "region/guest_memory.h"
#include "region/move_run.h"

namespace vmm::region {
namespace {

class MoveIsolator final : public Isolator {
 public:
  int take(GuestMemory& guest, std::uint64_t first, std::uint64_t count, TakenSet& taken) noexcept override {
    taken.reset();
    std::uint64_t busy = 0;
    int error = 0;
    for (std::uint64_t i = 0; i < count;) {
      const auto done = move_run(guest.staging_uffd(), guest.pagemap(), guest.staged(first + i), guest.at(first + i),
                                 (count - i) * kPageSize);
      const auto moved = done.bytes / kPageSize;
      for (std::uint64_t k = 0; k < moved; ++k) taken.set(i + k);
      i += moved;
      if (done.error == 0) break;
      if (done.error == EINVAL || done.error == EPERM || done.error == ESRCH) {
        error = done.error;
        break;
      }
      // EBUSY, EAGAIN: pinned, shared by the kernel, or locked for the moment; ENOENT: nothing there. The rest
      // of the range is not concerned.
      if (done.error != ENOENT) ++busy;
      ++i;
    }
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
      if (done.error == EEXIST && guest.remove_marker(first + given) == Marker::removed) continue;
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
    bump(guest.counters.put_back, given);
    return given;
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
    guest.copier.store(os::current_tid(), std::memory_order_release);
    for (std::uint64_t i = 0; i < count; ++i) {
      if ((bits[i] & (os::kPresent | os::kSwapped)) == 0) continue;
      std::memcpy(guest.staged(first + i), guest.at(first + i), kPageSize);
      taken.set(i);
    }
    guest.copier.store(0, std::memory_order_release);
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
      if (done.error == EEXIST && guest.remove_marker(first + given) == Marker::removed) continue;
      error = done.error;
      break;
    }
    if (given > 0) os::drop_pages(guest.staged(first), given * kPageSize);
    bump(guest.counters.put_back, given);
    return given;
  }
};

}  // namespace

int Isolator::copy_back(GuestMemory& guest, std::uint64_t page, bool protect) noexcept {
  auto done = guest.uffd().copy(guest.at(page), guest.staged(page), kPageSize, protect);
  if (done.error == EEXIST && guest.remove_marker(page) == Marker::removed)
    done = guest.uffd().copy(guest.at(page), guest.staged(page), kPageSize, protect);
  return done.error;
}

std::unique_ptr<Isolator> make_isolator(bool move) {
  if (move) return std::make_unique<MoveIsolator>();
  return std::make_unique<CopyIsolator>();
}

}  // namespace vmm::region
