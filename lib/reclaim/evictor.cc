#include "reclaim/evictor.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "reclaim/take_pages.h"
#include "region/isolator.h"

namespace vmm::reclaim {

using region::Notice;
using region::PageState;
using region::PageWord;

namespace {

constexpr std::uint64_t kRun = region::GuestMemory::kRunPages;
constexpr std::uint64_t kChunk = region::kMostTaken;  // a huge page

bool all_huge(const std::uint8_t* bits, std::uint64_t count) noexcept {
  return std::all_of(bits, bits + count, [](auto b) { return (b & os::kHuge) != 0; });
}

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
      // As much as is wanted, and all of a chunk where it may be a huge page.
      const auto wanted = std::max(kRun, (std::min(pages, most) - parked + kRun - 1) / kRun * kRun);
      auto seen = std::min({wanted, kChunk - first % kChunk, guest_.pages() - first});
      known = guest_.pagemap().bits(guest_.at(first), seen, bits.data()) == 0;
      if (known && chunk_begins && most - parked >= kChunk && all_huge(bits.data(), seen)) {
        if (seen < kChunk) known = guest_.pagemap().bits(guest_.at(first), kChunk, bits.data()) == 0;
        seen = kChunk;
        if (known && all_huge(bits.data(), kChunk)) count = kChunk;
      }
      known_from = first;
      known_to = known ? first + seen : first;
    }
    hand_ = first + count >= guest_.pages() ? 0 : first + count;
    const auto runs_here = (count + kRun - 1) / kRun;
    looks -= std::min(looks, runs_here);
    if (!known) continue;
    std::uint8_t heat = 0;
    for (std::uint64_t r = run; r < run + runs_here; ++r) {
      heat = std::max(heat, guest_.heat(r));
      guest_.cool(r);
    }
    // Small pages have a heat of their own: hot ones lie among cold ones.
    if (heat > 0 && count == kChunk) continue;
    parked += park_range(first, count, bits.data() + (first - known_from), most - parked, now);
  }
  return parked;
}

bool Evictor::find_stranded(base::Nanos now) {
  if (!SwapStore::of(guest_).stranded || !SwapStore::of(guest_).writable(now)) return false;
  std::deque<Parked> parked;
  std::uint64_t pages = 0;
  for (std::uint64_t first = 0; first < guest_.pages(); first += kRun) {
    const auto count = static_cast<std::uint32_t>(std::min(kRun, guest_.pages() - first));
    std::uint32_t waiting = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto word = guest_.table.load(first + i);
      if (word.watched()) continue;  // the sampler knows whose it is: it may be reserved memory
      waiting += word.state() == PageState::isolated && !word.writing() ? 1 : 0;
    }
    if (waiting == 0) continue;
    parked.push_back({first, count, waiting, now});
    pages += waiting;
  }
  parked_.swap(parked);
  parked_pages_ = pages;
  SwapStore::of(guest_).stranded = false;
  return true;
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
    bool warm = false;
    for (; end < count && end - i < most - taken_pages && (bits[end] & (os::kPresent | os::kSwapped)) != 0; ++end) {
      auto word = table.try_lock(first + end);
      if (!word) break;
      warm = word->heat() > 0 && count != kChunk;  // a huge page leaves whole
      if (warm) word = word->with_heat(static_cast<std::uint8_t>(word->heat() - 1));
      if (warm || !movable(*word)) {
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
    const auto [taken, error] = take_pages(guest_, first + i, end - i, bits + i, words.data() + i);
    taken_pages += taken;
    if (error != 0 && !base::may_pass(error) && !refused_) {
      refused_ = true;
      notices_.push({Notice::kNotReclaimable, error, guest_.id(), first + i});
    }
    if (error != 0) break;
    i = end + (warm ? 1 : 0);  // which has been visited
  }
  return taken_pages;
}

void Evictor::adopt(std::uint64_t first, std::uint32_t count, std::uint32_t parked, base::Nanos since) {
  const auto later = [](base::Nanos t, const Parked& p) { return t < p.since; };
  parked_.insert(std::upper_bound(parked_.begin(), parked_.end(), since, later), {first, count, parked, since});
  parked_pages_ += parked;
}

std::uint64_t Evictor::write(std::uint64_t pages, base::Nanos until, base::Nanos now, SwapOut& out,
                             policy::ReclaimReason reason) {
  if (!SwapStore::of(guest_).writable(now)) return 0;
  std::uint64_t handed = 0;
  while (!parked_.empty() && handed < pages && parked_.front().since <= until) {
    const auto run = parked_.front();
    parked_.pop_front();
    parked_pages_ -= run.taken;
    handed += out.write(guest_, run.first, run.count, now, reason);
  }
  out.flush();
  return handed;
}

}  // namespace vmm::reclaim
