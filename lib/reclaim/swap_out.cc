#include "reclaim/swap_out.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "base/check.h"
#include "reclaim/checksum.h"
#include "reclaim/swap_backend.h"
#include "region/isolator.h"

namespace vmm::reclaim {

using region::bump;
using region::drop;
using region::GuestMemory;
using region::Notice;
using region::PageState;
using region::PageWord;

namespace {

constexpr std::uint32_t kRun = 64;
constexpr unsigned kBatch = 4;       // writes handed to the kernel at once: each time costs the device a notice
constexpr std::uint32_t kTries = 3;  // of a write that fails with an error that may pass

bool may_pass(int error) noexcept { return error == EAGAIN || error == EINTR || error == ENOMEM || error == EBUSY; }

}  // namespace

Result<std::unique_ptr<SwapOut>> SwapOut::create(const SwapOutOptions& options, region::Notices& notices) {
  std::unique_ptr<SwapOut> s(new SwapOut(options, notices));
  const auto name = "vmm-write/" + std::to_string(options.node);
  auto io = os::AsyncIo::create(backend_of(options.io), options.writes_in_flight, name.c_str());
  if (!io) return tl::unexpected(io.error());
  s->io_ = std::move(*io);
  s->writes_.resize(options.writes_in_flight);
  return s;
}

std::uint64_t SwapOut::write(GuestMemory& guest, std::uint64_t first, std::uint64_t count, base::Nanos now) {
  std::uint64_t begun = 0;
  for (std::uint64_t page = first; page < first + count;) {
    // A stretch of neighbours that are ours to write, at most one run.
    std::uint32_t length = 0;
    while (length < kRun && page + length < first + count) {
      const auto word = guest.table.try_lock(page + length);
      if (!word) break;
      const bool ours = word->state() == PageState::isolated && !word->writing();
      guest.table.unlock(page + length, ours ? word->with_writing(true) : *word);
      if (!ours) break;
      ++length;
    }
    guest.table.released();  // also what was only looked at: a fault may have met its lock
    if (length == 0) {
      ++page;
      continue;
    }
    begun += write_run(guest, page, length, now);
    page += length;
  }
  io_->flush();
  return begun;
}

// Returns how many pages it dealt with or began to write; the others went back into the guest.
std::uint32_t SwapOut::write_run(GuestMemory& guest, std::uint64_t first, std::uint32_t count, base::Nanos now) {
  auto& store = SwapStore::of(guest);
  enum class Way : std::uint8_t { drop, keep_slot, write };
  std::array<Way, kRun> way;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto* bytes = guest.staged(first + i);
    const auto word = guest.table.load(first + i);
    if (is_zero_page(bytes)) {
      way[i] = Way::drop;
    } else if (word.state() == PageState::isolated && word.has_slot() &&
               page_checksum(store.secret, guest.id(), first + i, word.generation(), bytes) ==
                   store.slots.checksum(word.slot())) {
      // Not written since it was read, by the kernel's tracking when it was taken, and by its bytes now.
      way[i] = Way::keep_slot;
    } else {
      way[i] = Way::write;
    }
  }
  std::uint32_t failed = 0;
  for (std::uint32_t from = 0; from < count;) {
    auto to = from + 1;
    while (to < count && way[to] == way[from]) ++to;
    switch (way[from]) {
      case Way::drop: end_pages(guest, first + from, to - from, End::dropped, 0, false); break;
      case Way::keep_slot: end_pages(guest, first + from, to - from, End::written, 0, false); break;
      case Way::write:
        while (from < to) {
          const auto begun = begin_write(guest, first + from, to - from, now);
          if (begun == 0) {
            end_pages(guest, first + from, to - from, End::failed, 0, false);
            failed += to - from;
            break;
          }
          from += begun;
        }
        break;
    }
    from = to;
  }
  return count - failed;
}

// Returns how many pages' write was begun: 0 when the file has no free slot.
std::uint32_t SwapOut::begin_write(GuestMemory& guest, std::uint64_t first, std::uint32_t count, base::Nanos now) {
  auto& store = SwapStore::of(guest);
  const auto preferred = store.slots.slots() == 0 ? 0 : first % store.slots.slots();
  auto run = store.slots.allocate(preferred, count);
  while (run.count == 0 && free_slots(guest)) run = store.slots.allocate(preferred, count);
  if (run.count == 0) return 0;
  for (std::uint32_t i = 0; i < run.count; ++i) {
    const auto generation = static_cast<std::uint16_t>(guest.table.load(first + i).generation() + 1);
    store.slots.set_checksum(run.first + i, page_checksum(store.secret, guest.id(), first + i, generation,
                                                          guest.staged(first + i)));
  }
  const auto unused = [&] {
    return std::find_if(writes_.begin(), writes_.end(), [](const Write& w) { return w.guest == nullptr; });
  };
  for (; unused() == writes_.end(); finish(false, now)) {
    // Waits for one write: the depth is the bound of memory that is neither here nor there.
    std::array<os::IoCompletion, 1> one;
    if (io_->reap(one, true) == 1) complete(static_cast<std::size_t>(one[0].tag), one[0].result, now);
  }
  const auto write = unused();
  *write = {&guest, first, run.first, run.count, 0};
  in_flight_pages_ += run.count;
  submit(static_cast<std::size_t>(write - writes_.begin()));
  return run.count;
}

void SwapOut::submit(std::size_t index) {
  const Write& w = writes_[index];
  VMM_CHECK(io_->submit({os::IoOp::write, SwapStore::of(*w.guest).file.fd(), w.guest->staged(w.first),
                         static_cast<std::uint32_t>(w.count * kPageSize), w.slot * kPageSize, index}));
  if (++queued_ < kBatch) return;
  queued_ = 0;
  io_->flush();
}

void SwapOut::finish(bool wait, base::Nanos now) {
  std::array<os::IoCompletion, 64> completions;
  for (;;) {
    const auto count = io_->reap(completions, wait);
    for (std::size_t i = 0; i < count; ++i)
      complete(static_cast<std::size_t>(completions[i].tag), completions[i].result, now);
    if (count == 0) return;
  }
}

void SwapOut::complete(std::size_t index, int result, base::Nanos now) {
  Write& w = writes_[index];
  GuestMemory& guest = *w.guest;
  auto& store = SwapStore::of(guest);
  const bool whole = result == static_cast<int>(w.count * kPageSize);
  if (!whole && (result >= 0 || may_pass(-result)) && ++w.tries < kTries) {
    // A short write or a moment's lack of something: the whole run once more.
    submit(index);
    io_->flush();
    return;
  }
  const Write ended = w;
  w.guest = nullptr;
  in_flight_pages_ -= ended.count;
  if (whole) {
    bump(guest.counters.swap_written, ended.count * kPageSize);
    if (store.set_working()) notices_.push({Notice::kSwapRecovered, 0, guest.id(), 0});
  } else {
    bump(guest.counters.swap_errors);
    if (store.set_failed(now + options_.retry_timeout))
      notices_.push({Notice::kSwapWriteFailed, result < 0 ? -result : EIO, guest.id(), ended.count * kPageSize});
    store.slots.free(ended.slot, ended.count);
  }
  end_pages(guest, ended.first, ended.count, whole ? End::written : End::failed, ended.slot, whole);
}

// Ends the writing of pages: those still isolated leave memory (or, failed, go back into the guest); of those
// that were rescued or discarded meanwhile only the staged copy goes.
void SwapOut::end_pages(GuestMemory& guest, std::uint64_t first, std::uint32_t count, End end, std::uint64_t slot,
                        bool new_slots) {
  auto& table = guest.table;
  auto& store = SwapStore::of(guest);
  std::array<PageWord, kRun> words;
  for (std::uint32_t i = 0; i < count; ++i) words[i] = table.lock(first + i);
  const auto isolated = [&](std::uint32_t i) { return words[i].state() == PageState::isolated; };

  std::uint64_t gone = 0;  // pages whose staged bytes are no longer needed
  for (std::uint32_t from = 0; from < count;) {
    const bool was_isolated = isolated(from);
    auto to = from + 1;
    while (to < count && isolated(to) == was_isolated) ++to;
    std::uint32_t given = 0;
    if (was_isolated && end == End::failed) {
      int error = 0;
      given = static_cast<std::uint32_t>(guest.isolator().give(guest, first + from, to - from, error));
      drop(guest.counters.staging, given);
      for (auto i = from; i < to; ++i) {
        words[i] = words[i].with_writing(false);
        if (i < from + given) words[i] = words[i].with_state(PageState::resident);
      }
    } else if (os::drop_pages(guest.staged(first + from), (to - from) * kPageSize) == 0) {
      gone += to - from;
      for (auto i = from; i < to; ++i) {
        auto& w = words[i];
        w = w.with_writing(false);
        if (!was_isolated) continue;
        if (end == End::dropped) {
          if (w.has_slot()) store.slots.free(w.slot(), 1);
          w = w.without_slot().with_state(PageState::empty);
        } else {
          if (new_slots) {
            if (w.has_slot()) store.slots.free(w.slot(), 1);
            w = w.with_slot(slot + i).with_generation(static_cast<std::uint16_t>(w.generation() + 1));
          }
          w = w.with_state(PageState::swapped);
        }
      }
      if (was_isolated) {
        bump(guest.counters.freed, to - from);
        if (end == End::written) {
          bump(guest.counters.swapped, to - from);
          bump(guest.counters.swapped_out, to - from);
        }
      } else if (new_slots) {
        store.slots.free(slot + from, to - from);
      }
    } else {
      // The kernel keeps the staged pages: isolated ones stay so and can be rescued; copies of rescued ones
      // stay marked, which keeps their places in staging from being used again.
      if (new_slots) store.slots.free(slot + from, to - from);
      if (was_isolated)
        for (auto i = from; i < to; ++i) words[i] = words[i].with_writing(false);
    }
    from = to;
  }
  for (std::uint32_t i = 0; i < count; ++i) table.unlock(first + i, words[i]);
  table.released();
  drop(guest.counters.staging, gone);
  guest.uncharge(gone);
}

// Resident pages may hold slots for a later eviction without a write; when slots run out a run of them goes.
bool SwapOut::free_slots(GuestMemory& guest) {
  auto& store = SwapStore::of(guest);
  std::uint32_t freed = 0;
  for (std::uint64_t looked = 0; looked < guest.pages() && freed < kRun; ++looked) {
    const auto page = store.strip_hand;
    store.strip_hand = page + 1 == guest.pages() ? 0 : page + 1;
    const auto strippable = [](PageWord w) { return w.has_slot() && w.state() == PageState::resident; };
    if (!strippable(guest.table.load(page))) continue;
    const auto word = guest.table.try_lock(page);
    if (!word) continue;
    const bool strip = strippable(*word);
    guest.table.unlock(page, strip ? word->without_slot() : *word);
    guest.table.released();
    if (!strip) continue;
    store.slots.free(word->slot(), 1);
    ++freed;
  }
  return freed > 0;
}

}  // namespace vmm::reclaim
