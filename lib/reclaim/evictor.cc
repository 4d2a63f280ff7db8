#include "reclaim/evictor.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "region/isolator.h"

namespace vmm::reclaim {

using region::bump;
using region::Notice;
using region::PageState;
using region::PageWord;

namespace {

constexpr std::uint64_t kRun = region::GuestMemory::kRunPages;
constexpr std::uint64_t kChunk = region::kMostTaken;  // a huge page

}  // namespace

std::uint64_t Evictor::park(std::uint64_t pages, std::uint64_t looks, base::Nanos now, std::uint64_t most) {
  // Without a file to write to, parking would only cost the guest rescues.
  if (!SwapStore::of(guest_).writable(now)) return 0;
  std::array<std::uint8_t, kChunk> bits;
  std::uint64_t known_from = 0, known_to = 0;  // pages whose bits are known
  std::uint64_t parked = 0;
  const auto runs = (guest_.pages() + kRun - 1) / kRun;
  for (looks = std::min(looks, runs); looks > 0 && parked < std::min(pages, most);) {
    const auto first = hand_;
    const auto run = first / kRun;
    auto count = std::min(kRun, guest_.pages() - first);
    const bool chunk_begins = first % kChunk == 0 && first + kChunk <= guest_.pages();
    bool known = first >= known_from && first + count <= known_to;
    if (!known || chunk_begins) {
      const auto seen = std::min(kChunk - first % kChunk, guest_.pages() - first);
      known = guest_.pagemap().bits(guest_.at(first), seen, bits.data()) == 0;
      known_from = first;
      known_to = known ? first + seen : first;
    }
    if (known && chunk_begins && std::all_of(bits.begin(), bits.end(), [](auto b) { return (b & os::kHuge) != 0; }) &&
        most - parked >= kChunk)
      count = kChunk;
    hand_ = first + count >= guest_.pages() ? 0 : first + count;
    const auto runs_here = (count + kRun - 1) / kRun;
    looks -= std::min(looks, runs_here);
    if (!known) continue;
    std::uint8_t heat = 0;
    for (std::uint64_t r = run; r < run + runs_here; ++r) {
      heat = std::max(heat, guest_.heat(r));
      guest_.cool(r);
    }
    if (heat == 0) parked += park_range(first, count, bits.data() + (first - known_from), most - parked, now);
  }
  return parked;
}

void Evictor::find_stranded(base::Nanos now) {
  if (!SwapStore::of(guest_).stranded || !SwapStore::of(guest_).writable(now)) return;
  std::deque<Parked> parked;
  std::uint64_t pages = 0;
  for (std::uint64_t first = 0; first < guest_.pages(); first += kRun) {
    const auto count = static_cast<std::uint32_t>(std::min(kRun, guest_.pages() - first));
    std::uint32_t waiting = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto word = guest_.table.load(first + i);
      waiting += word.state() == PageState::isolated && !word.writing() ? 1 : 0;
    }
    if (waiting == 0) continue;
    parked.push_back({first, count, waiting, now});
    pages += waiting;
  }
  parked_.swap(parked);
  parked_pages_ = pages;
  SwapStore::of(guest_).stranded = false;
}

std::uint64_t Evictor::park_range(std::uint64_t first, std::uint64_t count, const std::uint8_t* bits,
                                  std::uint64_t most, base::Nanos now) {
  // Noted before it is taken: should there be no memory for the note, nothing is taken that nobody knows of.
  parked_.push_back({first, static_cast<std::uint32_t>(count), 0, now});
  const auto taken = take(first, count, bits, most);
  if (taken == 0) {
    parked_.pop_back();
    return 0;
  }
  parked_.back().taken = static_cast<std::uint32_t>(taken);
  parked_pages_ += taken;
  return taken;
}

// Takes at most `most` of the range: those that are here, wherever in it they are.
std::uint64_t Evictor::take(std::uint64_t first, std::uint64_t count, const std::uint8_t* bits, std::uint64_t most) {
  auto& table = guest_.table;
  const auto movable = [](PageWord w) {
    return w.state() == PageState::resident && !w.pinned() && !w.writing();
  };
  std::array<PageWord, kChunk> words;
  std::uint64_t taken_pages = 0;
  for (std::uint64_t i = 0; i < count && taken_pages < most;) {
    // Neighbours that are here, ours to move, and unlocked.
    auto end = i;
    for (; end < count && end - i < most - taken_pages && (bits[end] & (os::kPresent | os::kSwapped)) != 0; ++end) {
      const auto word = table.try_lock(first + end);
      if (!word) break;
      if (!movable(*word)) {
        table.unlock(first + end, *word);
        break;
      }
      words[end] = *word;
    }
    if (end == i) {
      table.released();  // also what was only looked at: a fault may have met its lock
      ++i;
      continue;
    }
    region::TakenSet taken;
    const int error = guest_.isolator().take(guest_, first + i, end - i, taken);
    // What the kernel had swapped out moved as it was. The worker reads it back, so that no fault thread has to.
    for (auto k = i; k < end; ++k)
      if (taken[k - i] && (bits[k] & os::kSwapped) != 0)
        static_cast<void>(*const_cast<const volatile std::byte*>(guest_.staged(first + k)));
    // Before the words say so: a fault thread may rescue them at once.
    bump(guest_.counters.staging, taken.count());
    taken_pages += taken.count();
    for (auto k = i; k < end; ++k) {
      if (!taken[k - i]) {
        table.unlock(first + k, words[k]);
        continue;
      }
      auto word = words[k].with_state(PageState::isolated);
      if (word.has_slot() && (bits[k] & os::kWritten) != 0) {
        // Written since it was read back: the slot is stale.
        SwapStore::of(guest_).slots.free(word.slot(), 1);
        word = word.without_slot();
      }
      table.unlock(first + k, word);
    }
    table.released();
    if (error != 0 && !base::may_pass(error) && !refused_) {
      refused_ = true;
      notices_.push({Notice::kNotReclaimable, error, guest_.id(), first + i});
    }
    if (error != 0) break;
    i = end;
  }
  return taken_pages;
}

std::uint64_t Evictor::write(std::uint64_t pages, base::Nanos until, base::Nanos now, SwapOut& out) {
  if (!SwapStore::of(guest_).writable(now)) return 0;
  std::uint64_t handed = 0;
  while (!parked_.empty() && handed < pages && parked_.front().since <= until) {
    const auto run = parked_.front();
    parked_.pop_front();
    parked_pages_ -= run.taken;
    handed += out.write(guest_, run.first, run.count, now);
  }
  out.flush();
  return handed;
}

}  // namespace vmm::reclaim
