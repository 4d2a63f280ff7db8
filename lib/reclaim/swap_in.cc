#include "reclaim/swap_in.h"

#include <algorithm>
#include <cerrno>
#include <string>

#include "base/check.h"
#include "base/error.h"
#include "reclaim/checksum.h"
#include "reclaim/swap_backend.h"
#include "reclaim/swap_store.h"

namespace vmm::reclaim {

using region::bump;
using region::drop;
using region::GuestMemory;
using region::Notice;
using region::Outcome;
using region::PageState;

namespace {

// Pages put in place before new faults are looked at: their reads are to be in flight meanwhile.
constexpr std::uint32_t kSlice = 16;
constexpr std::uint32_t kTries = 3;  // of a read that fails, before its page is given up

}  // namespace

Result<std::unique_ptr<SwapIn>> SwapIn::create(const SwapInOptions& options, region::Credit& credit,
                                               region::Notices& notices) {
  std::unique_ptr<SwapIn> s(new SwapIn(options, credit, notices));
  const auto name = "vmm-read/" + std::to_string(options.node);
  auto io = os::AsyncIo::create(backend_of(options.io), kLarge + kSmall, name.c_str());
  if (!io) return tl::unexpected(io.error());
  s->io_ = std::move(*io);
  auto buffers = os::Mapping::guarded(buffer_bytes());
  if (!buffers) return tl::unexpected(buffers.error());
  s->buffers_ = std::move(*buffers);
  // A buffer of neighbouring frames is one segment for the device; of scattered ones, as many as pages.
  os::advise_huge_pages(s->buffers_.data(), kLarge * kLargeBytes, true);
  os::keep_from_children(s->buffers_.data(), s->buffers_.size());
  os::exclude_from_core_dumps(s->buffers_.data(), s->buffers_.size());
  os::bind_to_node(s->buffers_.data(), s->buffers_.size(), options.node, os::NodePolicy::preferred);
  os::name_range(s->buffers_.data(), s->buffers_.size(), "vmm-buffers");
  // Here, so that no fault thread zeroes huge pages in the middle of a read.
  os::populate_for_write(s->buffers_.data(), s->buffers_.size());
  auto* self = s.get();
  const auto helper = s->placer_.start("vmm-place/" + std::to_string(options.node),
                                       [self](std::size_t index) { self->help(index); });
  if (!helper) return tl::unexpected(helper.error());
  return s;
}

std::byte* SwapIn::buffer(std::size_t index) const noexcept {
  return index < kLarge ? buffers_.data() + index * kLargeBytes
                        : buffers_.data() + kLarge * kLargeBytes + (index - kLarge) * kPageSize;
}

std::size_t SwapIn::find_unused(std::size_t from, std::size_t to) const noexcept {
  while (from < to && reads_[from].guest != nullptr) ++from;
  return from;
}

std::size_t SwapIn::unused_large() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(reads_.begin(), reads_.begin() + kLarge, [](const Read& r) { return r.guest == nullptr; }));
}

Outcome SwapIn::start(GuestMemory& guest, std::uint64_t page, base::Nanos since, bool demand) noexcept {
  const auto plan = guest.read_window.next(page);
  const auto outcome = begin(guest, page, plan.pages, since, demand ? Why::demand : Why::ahead);
  if (outcome == Outcome::reading && plan.ahead_to > page + 1)
    read_ahead(guest, page + 1, plan.ahead_to, plan.pages);
  return outcome;
}

void SwapIn::touched(GuestMemory& guest, std::uint64_t page) noexcept {
  const auto plan = guest.read_window.next(page);
  read_ahead(guest, page + 1, plan.ahead_to, plan.pages);
}

void SwapIn::read_ahead(GuestMemory& guest, std::uint64_t from, std::uint64_t to, std::uint32_t pages) noexcept {
  to = std::min(to, guest.pages());
  collect();
  while (from < to) {
    const auto glimpse = guest.table.load(from);
    if (glimpse.state() != PageState::swapped || glimpse.locked() || glimpse.watched()) {
      ++from;
      continue;
    }
    if (unused_large() <= kForDemand) return;
    if (credit_.free() < credit_.marks().read_ahead.load(std::memory_order_relaxed)) return;
    const auto word = guest.table.try_lock(from);
    if (!word) {
      ++from;
      continue;
    }
    const auto most = static_cast<std::uint32_t>(std::min<std::uint64_t>(pages, to - from));
    const bool fits = word->state() == PageState::swapped && !word->watched();
    if (!fits || begin(guest, from, most, {}, Why::ahead) != Outcome::reading) {
      guest.table.unlock(from, *word);
      return;
    }
    ++from;
  }
}

bool SwapIn::pump(GuestMemory& guest, std::uint64_t& next, std::uint64_t end) noexcept {
  end = std::min(end, guest.pages());
  // What is brought back unasked may not push others out.
  const auto keep = 2 * credit_.marks().read_ahead.load(std::memory_order_relaxed) + options_.batch_pages;
  for (; next < end; ++next) {
    const auto glimpse = guest.table.load(next);
    if (glimpse.state() != PageState::swapped || glimpse.locked()) continue;
    if (credit_.free() < keep) {
      next = end;
      break;
    }
    if (unused_large() <= kForDemand) {
      collect_and_watch();
      if (unused_large() <= kForDemand) return false;
    }
    const auto word = guest.table.try_lock(next);
    if (!word) continue;
    const auto most = static_cast<std::uint32_t>(std::min<std::uint64_t>(options_.batch_pages, end - next));
    const bool swapped = word->state() == PageState::swapped;
    if (swapped && begin(guest, next, most, {}, Why::prefetch) == Outcome::reading) continue;
    guest.table.unlock(next, *word);
    if (!swapped) continue;
    next = end;  // no credit
  }
  collect_and_watch();
  // Ended only when the last read has, so that who waits finds the pages in place.
  return std::none_of(reads_.begin(), reads_.end(),
                      [&](const Read& r) { return r.guest == &guest && r.why == Why::prefetch; });
}

Outcome SwapIn::begin(GuestMemory& guest, std::uint64_t first, std::uint32_t most, base::Nanos since,
                      Why why) noexcept {
  collect();
  most = std::min({most, options_.batch_pages, std::uint32_t{64}});
  auto index = most > 1 ? find_unused(0, kLarge) : kLarge;
  if (index == kLarge) {
    most = 1;
    index = find_unused(kLarge, reads_.size());
  }
  if (index == reads_.size()) {
    collect_and_watch();
    index = find_unused(0, kLarge);
    if (index == kLarge) return Outcome::wait_buffer;
  }
  auto& table = guest.table;
  const auto slot = table.load(first).slot();
  std::uint32_t count = 1;
  // A touch of a watched page has to be a fault; what is asked for by name counts as used.
  const auto fits = [&](region::PageWord w) {
    return w.state() == PageState::swapped && w.slot() == slot + count && (!w.watched() || why == Why::prefetch);
  };
  while (count < most && first + count < guest.pages() && fits(table.load(first + count))) {
    const auto word = table.try_lock(first + count);
    if (!word) break;
    if (!fits(*word)) {
      table.unlock(first + count, *word);
      break;
    }
    ++count;
  }
  Read read{&guest, first, count, 0, since, why};
  if (!guest.try_charge(count)) {
    for (std::uint32_t i = 1; i < count; ++i) table.unlock(first + i, table.load(first + i));
    read.count = 1;
    if (!guest.try_charge(1)) return Outcome::wait_credit;
  }
  reads_[index] = read;
  VMM_CHECK(submit(index));  // the depth of the ring is the number of reads
  return Outcome::reading;
}

bool SwapIn::submit(std::size_t index) noexcept {
  const Read& r = reads_[index];
  submitted_ = true;
  return io_->submit({os::IoOp::read, SwapStore::of(*r.guest).file.fd(), buffer(index),
                      static_cast<std::uint32_t>(r.count * kPageSize), r.guest->table.load(r.first).slot() * kPageSize,
                      index});
}

void SwapIn::flush() noexcept {
  if (!submitted_) return;
  submitted_ = false;
  io_->flush();
}

bool SwapIn::awaited() noexcept {
  if (io_->in_flight() == 0) return false;
  collect();
  for (std::size_t i = 0; i < reads_.size(); ++i) {
    const auto& r = reads_[i];
    if (r.guest != nullptr && r.why != Why::prefetch && !(i < kLarge && placer_.has(i))) return true;
  }
  return false;
}

unsigned SwapIn::in_flight(const GuestMemory& guest) noexcept {
  collect_and_watch();
  return static_cast<unsigned>(
      std::count_if(reads_.begin(), reads_.end(), [&](const Read& r) { return r.guest == &guest; }));
}

// Buffers of what the helper has put in place are unused again.
void SwapIn::collect() noexcept {
  placer_.collect([&](std::size_t index) { reads_[index].guest = nullptr; });
}

// As collect(), and the bell rings when there is more to collect.
void SwapIn::collect_and_watch() noexcept {
  placer_.want();
  collect();
}

bool SwapIn::reap(std::atomic<std::uint64_t>& working_on) noexcept {
  collect();
  bool any = false;
  std::uint32_t pages = 0;
  const auto works_on = [&](const Read& read) {
    any = true;
    pages += read.count;
    working_on.store(reinterpret_cast<std::uintptr_t>(read.guest->at(read.first)), std::memory_order_relaxed);
  };
  // All that has come, so that a demand's read does not stand behind those ahead.
  std::array<os::IoCompletion, 1> one;
  while (pages < kSlice && io_->reap(one, false) == 1) {
    const auto index = static_cast<std::size_t>(one[0].tag);
    if (leave_to_any(index, one[0].result)) continue;
    if (placer_.waiting()) placer_.call_helper();
    works_on(reads_[index]);
    complete(index, one[0].result);
  }
  while (pages < kSlice) {
    const auto index = placer_.take();
    if (index == Placer::kNone) break;
    if (placer_.waiting()) placer_.call_helper();
    works_on(reads_[index]);
    put_in_place(index);
    placer_.finished(index);
    reads_[index].guest = nullptr;
  }
  return any;
}

// The read has ended. True: nobody waits for it, and it is left to whoever is free.
bool SwapIn::leave_to_any(std::size_t index, int result) noexcept {
  const Read& read = reads_[index];
  if (read.why == Why::demand || result != static_cast<int>(read.count * kPageSize)) return false;
  GuestMemory& guest = *read.guest;
  if (read.why == Why::ahead && !guest.leaving) {
    // Before this read is put in place: while a stream goes on, some page of it is always locked.
    const auto next = guest.read_window.came(read.first, read.count);
    read_ahead(guest, next.first, next.first + next.count, options_.batch_pages);
  }
  if (index >= kLarge) return false;
  placer_.arrived(index);
  return true;
}

void SwapIn::help(std::size_t index) noexcept {
  const Read& read = reads_[index];
  helper_address_.store(reinterpret_cast<std::uintptr_t>(read.guest->at(read.first)), std::memory_order_relaxed);
  put_in_place(index);
  helper_address_.store(0, std::memory_order_release);
  helped_.fetch_add(1, std::memory_order_relaxed);
}

// Runs of good pages are put in place together; a bad one stays where it is until somebody wants it.
// Of the first pages that is known already. The fault thread or its helper.
void SwapIn::put_in_place(std::size_t index, std::uint32_t known_good) noexcept {
  const Read& read = reads_[index];
  GuestMemory& guest = *read.guest;
  const auto* const bytes = buffer(index);
  for (std::uint32_t from = 0; from < read.count;) {
    auto to = std::max(from, known_good);
    while (to < read.count && good(read, to, bytes + to * kPageSize)) ++to;
    if (to > from) place(read, bytes, from, to);
    if (to < read.count) {
      bump(guest.counters.swap_errors);
      put_back(read, to, to + 1);
      ++to;
    }
    from = to;
  }
  guest.table.released();
}

bool SwapIn::good(const Read& read, std::uint32_t index, const std::byte* bytes) const noexcept {
  const auto& store = SwapStore::of(*read.guest);
  const auto word = read.guest->table.load(read.first + index);
  return page_checksum(store.secret, read.guest->id(), read.first + index, word.generation(), bytes) ==
         store.slots.checksum(word.slot());
}

void SwapIn::complete(std::size_t index, int result) noexcept {
  Read& read = reads_[index];
  GuestMemory& guest = *read.guest;
  std::byte* const bytes = buffer(index);
  const bool whole = result == static_cast<int>(read.count * kPageSize);
  const bool first_good = whole && good(read, 0, bytes);
  if (!first_good) {
    // Whatever is wrong, only the page that somebody waits for is tried again, alone.
    bump(guest.counters.swap_errors);
    put_back(read, 1, read.count);
    read.count = 1;
    if (read.why == Why::demand && ++read.tries < kTries && !guest.leaving) {
      VMM_CHECK(submit(index));
      guest.table.released();
      return;
    }
    // A lack that passes loses nothing: the page stays in its slot, and who waits faults again.
    if (read.why == Why::demand && !guest.leaving && !base::may_pass(-result))
      lose(read, result < 0 ? -result : (whole ? 0 : EIO));
    else
      put_back(read, 0, 1);
    guest.table.released();
  } else {
    put_in_place(index, 1);
  }
  read.guest = nullptr;
}

void SwapIn::place(const Read& read, const std::byte* bytes, std::uint32_t from, std::uint32_t to) noexcept {
  GuestMemory& guest = *read.guest;
  const auto page = read.first;
  std::uint32_t done = from;
  while (done < to) {
    const auto p = guest.uffd().copy(guest.at(page + done), bytes + done * kPageSize, (to - done) * kPageSize, true);
    done += static_cast<std::uint32_t>(p.bytes / kPageSize);
    if (p.error == 0) break;
    // A marker in the place goes; anything else leaves the page swapped, and who waits faults again.
    if (p.error == EEXIST && guest.remove_marker(page + done) == region::Marker::removed) continue;
    break;
  }
  for (auto i = from; i < done; ++i) {
    const auto word = guest.table.load(page + i).with_state(PageState::resident);
    // What is asked for by name counts as used.
    const bool touched = read.why == Why::prefetch || (read.why == Why::demand && i == 0);
    guest.table.unlock(page + i, word.with_watch(region::Watch::none).with_heat(touched ? 1 : 0));
  }
  bump(guest.counters.swapped_in, done - from);
  drop(guest.counters.swapped, done - from);
  guest.warm(page + from, 1);
  if (done < to) put_back(read, done, to);
  if (read.why == Why::demand && from == 0 && done > 0) {
    bump(guest.counters.swap_ins);
    guest.count_wait(&region::FaultLatency::swap_in, read.since);
  }
}

void SwapIn::put_back(const Read& read, std::uint32_t from, std::uint32_t to) noexcept {
  if (from >= to) return;
  GuestMemory& guest = *read.guest;
  for (auto i = from; i < to; ++i) guest.table.unlock(read.first + i, guest.table.load(read.first + i));
  guest.uncharge(to - from);
  guest.wake(read.first + from, to - from);
}

void SwapIn::lose(Read& read, int error) noexcept {
  GuestMemory& guest = *read.guest;
  guest.refuse(read.first);
  guest.table.unlock(read.first, guest.table.load(read.first).with_state(PageState::lost));
  guest.uncharge(1);
  drop(guest.counters.swapped);
  bump(guest.counters.lost);
  bump(guest.counters.rejected_faults);
  notices_.push({Notice::kSwapReadFailed, error, guest.id(), read.first});
  guest.wake(read.first, 1);
}

}  // namespace vmm::reclaim
