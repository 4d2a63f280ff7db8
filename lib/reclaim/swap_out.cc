#include "reclaim/swap_out.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "base/check.h"
#include "base/error.h"
#include "base/zero_page.h"
#include "reclaim/checksum.h"
#include "reclaim/swap_backend.h"

namespace vmm::reclaim {

using region::bump;
using region::GuestMemory;
using region::kMostTaken;
using region::Notice;
using region::PageState;
using region::PageWord;

namespace {

constexpr std::uint32_t kRun = 64;
constexpr unsigned kHandOver = 4;    // writes handed to the kernel at once: each time costs the device a notice
constexpr std::uint32_t kTries = 3;  // of a write that fails with an error that may pass

}  // namespace

Result<std::unique_ptr<SwapOut>> SwapOut::create(const SwapOutOptions& options, region::Notices& notices) {
  std::unique_ptr<SwapOut> s(new SwapOut(options, notices));
  const auto name = "vmm-write/" + std::to_string(options.node);
  auto io = os::AsyncIo::create(backend_of(options.io), options.writes_in_flight, name.c_str());
  if (!io) return tl::unexpected(io.error());
  s->io_ = std::move(*io);
  s->writes_.resize(options.writes_in_flight);
  s->batches_.resize(2 * options.writes_in_flight + 1);
  s->ended_.reserve(s->batches_.size());
  return s;
}

std::uint64_t SwapOut::write(GuestMemory& guest, std::uint64_t first, std::uint64_t count, base::Nanos now,
                             policy::ReclaimReason reason) {
  // What was taken as a huge page leaves as one.
  const auto most = count == kMostTaken && first % kMostTaken == 0 ? kMostTaken : kRun;
  std::uint64_t begun = 0;
  for (std::uint64_t page = first; page < first + count;) {
    // A stretch of neighbours that are ours to write.
    std::uint32_t length = 0;
    while (length < most && page + length < first + count) {
      const auto word = guest.table.try_lock(page + length);
      if (!word) {
        // Somebody works on it: should it stay in staging, it is to be found again.
        SwapStore::of(guest).stranded = true;
        break;
      }
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
    begun += write_batch(guest, page, length, now, reason);
    page += length;
  }
  return begun;
}

void SwapOut::flush() noexcept {
  queued_ = 0;
  io_->flush();
}

PageEnd SwapOut::classify(const GuestMemory& guest, std::uint64_t page) const {
  const auto* bytes = guest.staged(page);
  if (base::is_zero_page(bytes)) return PageEnd::dropped;
  const auto& store = SwapStore::of(guest);
  const auto word = guest.table.load(page);
  // Not written since it was read, by the kernel's tracking when it was taken, and by its bytes now.
  const bool unchanged = word.state() == PageState::isolated && word.has_slot() &&
                         page_checksum(store.secret, guest.id(), page, word.generation(), bytes) ==
                             store.slots.checksum(word.slot());
  return unchanged ? PageEnd::kept : PageEnd::written;
}

// Returns how many pages it dealt with or began to write; the others go back into the guest.
std::uint32_t SwapOut::write_batch(GuestMemory& guest, std::uint64_t first, std::uint32_t count, base::Nanos now,
                                   policy::ReclaimReason reason) {
  Batch& batch = unused_batch();
  batch.guest = &guest;
  batch.first = first;
  batch.count = count;
  batch.writes = 1;
  batch.reason = reason;
  in_flight_pages_ += count;
  auto& end = batch.ends.end;
  for (std::uint32_t i = 0; i < count; ++i) end[i] = classify(guest, first + i);
  std::uint32_t failed = 0;
  for (std::uint32_t from = 0; from < count;) {
    auto to = from + 1;
    while (to < count && to - from < kRun && end[to] == end[from]) ++to;
    while (from < to && end[from] == PageEnd::written) {
      const auto begun = begin_write(batch, from, to - from, now);
      if (begun == 0) {
        std::fill(end.begin() + from, end.begin() + to, PageEnd::failed);
        failed += to - from;
        break;
      }
      from += begun;
    }
    from = to;
  }
  release(batch);
  return count - failed;
}

// Returns how many pages' write was begun: 0 when the file has no free slot.
std::uint32_t SwapOut::begin_write(Batch& batch, std::uint32_t first, std::uint32_t count, base::Nanos now) {
  GuestMemory& guest = *batch.guest;
  auto& store = SwapStore::of(guest);
  const auto page = batch.first + first;
  const auto preferred = store.slots.slots() == 0 ? 0 : page % store.slots.slots();
  auto run = store.slots.allocate(preferred, count);
  while (run.count == 0 && (finish_ended(ended_.size()) || free_slots(guest)))
    run = store.slots.allocate(preferred, count);
  if (run.count == 0) return 0;
  for (std::uint32_t i = 0; i < run.count; ++i) {
    const auto generation = static_cast<std::uint16_t>(guest.table.load(page + i).generation() + 1);
    store.slots.set_checksum(run.first + i,
                             page_checksum(store.secret, guest.id(), page + i, generation, guest.staged(page + i)));
    batch.ends.slot[first + i] = run.first + i;
  }
  auto& write = unused_write(now);
  write = {&batch, first, run.count, run.first, 0};
  ++batch.writes;
  submit(write);
  return run.count;
}

SwapOut::Batch& SwapOut::unused_batch() {
  const auto unused = [&] {
    return std::find_if(batches_.begin(), batches_.end(), [](const Batch& b) { return b.guest == nullptr; });
  };
  while (unused() == batches_.end()) VMM_CHECK(finish_ended(1));
  return *unused();
}

// While the most writes are in flight, ends what has been written, and if that is nothing waits until a few writes
// have ended: each hand-over costs the device a notice.
SwapOut::Write& SwapOut::unused_write(base::Nanos now) {
  const auto is_unused = [](const Write& w) { return w.batch == nullptr; };
  const auto unused = [&] { return std::find_if(writes_.begin(), writes_.end(), is_unused); };
  if (unused() == writes_.end()) {
    flush();
    const auto wanted = std::min<std::ptrdiff_t>(kHandOver, static_cast<std::ptrdiff_t>(writes_.size()));
    while (reap(false, now), std::count_if(writes_.begin(), writes_.end(), is_unused) < wanted)
      if (!finish_ended(1)) reap(true, now);
  }
  return *unused();
}

// Takes completions; true if there were any.
bool SwapOut::reap(bool wait, base::Nanos now) {
  std::array<os::IoCompletion, 64> completions;
  const auto count = io_->reap(completions, wait);
  for (std::size_t i = 0; i < count; ++i)
    complete(static_cast<std::size_t>(completions[i].tag), completions[i].result, now);
  return count > 0;
}

void SwapOut::submit(const Write& write) {
  const auto& guest = *write.batch->guest;
  VMM_CHECK(io_->submit({os::IoOp::write, SwapStore::of(guest).file.fd(),
                         guest.staged(write.batch->first + write.first),
                         static_cast<std::uint32_t>(write.count * kPageSize), write.slot * kPageSize,
                         static_cast<std::uint64_t>(&write - writes_.data())}));
  if (++queued_ == kHandOver) flush();
}

void SwapOut::finish(bool wait, base::Nanos now) {
  do finish_ended(ended_.size());
  while (reap(wait, now) || !ended_.empty());
}

void SwapOut::complete(std::size_t index, int result, base::Nanos now) {
  Write& w = writes_[index];
  Batch& batch = *w.batch;
  GuestMemory& guest = *batch.guest;
  auto& store = SwapStore::of(guest);
  const bool whole = result == static_cast<int>(w.count * kPageSize);
  if (!whole && (result >= 0 || base::may_pass(-result)) && ++w.tries < kTries) {
    // A short write or a moment's lack of something: the whole run once more.
    submit(w);
    flush();
    return;
  }
  w.batch = nullptr;
  if (whole) {
    bump(guest.counters.swap_written, w.count * kPageSize);
    if (store.set_working()) notices_.push({Notice::kSwapRecovered, 0, guest.id(), 0});
  } else {
    bump(guest.counters.swap_errors);
    if (store.set_failed(now + options_.retry_timeout))
      notices_.push({Notice::kSwapWriteFailed, result < 0 ? -result : EIO, guest.id(), w.count * kPageSize});
    store.slots.free(w.slot, w.count);
    std::fill_n(batch.ends.end.begin() + w.first, w.count, PageEnd::failed);
  }
  release(batch);
}

void SwapOut::release(Batch& batch) {
  if (--batch.writes == 0) ended_.push_back(&batch);
}

// Ends the stay of the pages of up to `most` batches that are written. True if there was one.
bool SwapOut::finish_ended(std::size_t most) {
  const auto count = std::min(most, ended_.size());
  for (std::size_t i = 0; i < count; ++i) {
    Batch& batch = *ended_[i];
    in_flight_pages_ -= batch.count;
    finish_pages(*batch.guest, batch.first, batch.count, batch.ends, batch.reason);
    batch.guest = nullptr;
  }
  ended_.erase(ended_.begin(), ended_.begin() + static_cast<std::ptrdiff_t>(count));
  return count > 0;
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
