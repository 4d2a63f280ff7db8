#include "reclaim/sampler.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <unordered_set>

#include "reclaim/swap_store.h"
#include "reclaim/take_pages.h"
#include "region/isolator.h"

namespace vmm::reclaim {

using region::PageState;
using region::PageWord;
using region::Watch;

namespace {

constexpr std::uint64_t kChunk = region::kMostTaken;  // a huge page
constexpr std::uint64_t kTries = 4;                   // for each page that has to be replaced, on average

bool waits(PageWord w) noexcept { return w.state() == PageState::isolated && !w.writing(); }

}  // namespace

std::uint64_t Sampler::begin(std::uint64_t pages, base::Nanos now, base::Random& random) {
  end();
  if (!guest_.managed() || !guest_.adopted()) return 0;
  since_ = now;
  const auto all = guest_.pages();
  const auto wanted = std::min(pages, all);
  units_.reserve(wanted);
  // Floyd's choice of different numbers (Bentley & Floyd, "A Sample of Brilliance", 1987).
  std::unordered_set<std::uint64_t> seen;
  for (auto i = all - wanted; i < all; ++i)
    if (!seen.insert(random.below(i + 1)).second) seen.insert(i);
  std::vector<std::uint64_t> chosen(seen.begin(), seen.end());
  std::sort(chosen.begin(), chosen.end());
  std::uint64_t missing = 0;
  for (const auto page : chosen) missing += watch(page) ? 0 : 1;
  for (auto tries = kTries * missing; missing > 0 && tries > 0; --tries) {
    const auto page = random.below(all);
    if (seen.insert(page).second && watch(page)) --missing;
  }
  return size();
}

// All of a huge page; `bits` are those of its pages.
bool Sampler::all_huge(const std::byte* chunk, std::uint8_t* bits) const noexcept {
  return guest_.pagemap().bits(chunk, kChunk, bits) == 0 &&
         std::all_of(bits, bits + kChunk, [](auto b) { return (b & os::kHuge) != 0; });
}

// False: this page cannot be watched now.
bool Sampler::watch(std::uint64_t page) {
  const auto chunk = page / kChunk * kChunk;
  // From the back: pages come in ascending order, but for those that replace others.
  const auto unit = std::find_if(units_.rbegin(), units_.rend(),
                                 [&](const Unit& u) { return u.count == kChunk && u.first == chunk; });
  if (unit != units_.rend()) {
    ++unit->samples;
    return true;
  }
  std::array<std::uint8_t, kChunk> bits;
  const auto state = guest_.table.load(page).state();
  // Whoever reads a frame is not seen to do so.
  if (state == PageState::shared) return false;
  if (state != PageState::resident && state != PageState::isolated) return watch_small(page, 0);
  const auto* const place = state == PageState::resident ? guest_.at(0) : guest_.staged(0);
  if (guest_.pagemap().bits(place + page * kPageSize, 1, bits.data()) != 0) return false;
  const auto own = bits[0];
  if ((own & os::kHuge) != 0 && chunk + kChunk <= guest_.pages() && all_huge(place + chunk * kPageSize, bits.data()))
    return watch_huge(page, bits.data(), state);
  return watch_small(page, own);
}

bool Sampler::watch_small(std::uint64_t page, std::uint8_t bits) {
  auto& table = guest_.table;
  const auto word = table.try_lock(page);
  if (!word) return false;
  Unit unit{page};
  unit.touched = word->pinned();
  const bool here = word->state() == PageState::resident;
  // In place of a lost page the kernel answers by itself. What is written while it is resident cannot be taken, nor
  // what came while we looked.
  const bool unfit = word->state() == PageState::lost || word->state() == PageState::shared ||
                     (here && (word->writing() || bits == 0));
  if (unit.touched || unfit || !here) {
    table.unlock(page, unit.touched || unfit ? *word : word->with_watch(Watch::page));
    table.released();
    if (unfit && !unit.touched) return false;
  } else {
    if (take_pages(guest_, page, 1, &bits, &*word, Watch::page).pages == 0) return false;
    unit.taken = true;
  }
  units_.push_back(unit);  // there is room for all
  return true;
}

// The chunk was a huge page a moment ago, in place or in staging, as `state` says.
bool Sampler::watch_huge(std::uint64_t page, const std::uint8_t* bits, PageState state) {
  auto& table = guest_.table;
  Unit unit{page / kChunk * kChunk, kChunk};
  std::array<PageWord, kChunk> words;
  std::uint64_t locked = 0;
  bool fits = true;
  while (fits && locked < kChunk) {
    const auto word = table.try_lock(unit.first + locked);
    if (word) words[locked++] = *word;
    unit.touched |= word && word->pinned();
    fits = word && word->state() == state && !word->pinned() && !word->writing() && !word->watched();
  }
  if (fits && state == PageState::resident) {
    unit.taken = true;
    // A part only, where the kernel has split it meanwhile or a device holds some of it.
    if (take_pages(guest_, unit.first, kChunk, bits, words.data(), Watch::whole).pages < kChunk) {
      give_back(unit);
      return false;
    }
  } else {
    for (std::uint64_t i = 0; i < locked; ++i)
      table.unlock(unit.first + i, fits ? words[i].with_watch(Watch::whole) : words[i]);
    table.released();
    if (!fits && !unit.touched) return false;
  }
  units_.push_back(unit);
  return true;
}

Sampler::Fate Sampler::fate(const Unit& unit) const noexcept {
  if (unit.touched) return Fate::touched;
  auto fate = Fate::untouched;
  // Any of a huge page: a watch that was locked when another page was touched is still there.
  for (auto page = unit.first; page < unit.first + unit.count; ++page) {
    const auto word = guest_.table.load(page);
    if (!word.watched()) return Fate::touched;
    if (word.state() == PageState::resident) fate = Fate::put_back;
  }
  return fate;
}

policy::ActiveSample Sampler::so_far() noexcept {
  policy::ActiveSample sample;
  for (auto& unit : units_) {
    const auto f = fate(unit);
    unit.touched = f == Fate::touched;
    if (f != Fate::put_back) sample.pages += unit.samples;
    if (unit.touched) sample.touched += unit.samples;
  }
  return sample;
}

std::uint64_t Sampler::size() const noexcept {
  return std::accumulate(units_.begin(), units_.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const Unit& u) { return sum + u.samples; });
}

policy::ActiveSample Sampler::end() noexcept {
  const auto sample = so_far();
  for (const auto& unit : units_) give_back(unit);
  units_.clear();
  return sample;
}

// Takes the watch off, and puts what still waits for its touch back into the guest. Holds no lock while it waits for one:
// a prefetch may have it until its read has ended.
void Sampler::give_back(const Unit& unit) noexcept {
  auto& table = guest_.table;
  const auto end = unit.first + unit.count;
  const auto ours = [](PageWord w) { return w.watched() && waits(w); };
  std::array<PageWord, kChunk> words;
  for (auto page = unit.first; page < end;) {
    const auto glimpse = table.load(page);
    if (!glimpse.watched()) {
      // Of a huge page that came back in part, for some of it was locked then; or the evictor has parked it since.
      if (unit.taken && unit.count > 1 && waits(glimpse)) SwapStore::of(guest_).stranded = true;
      ++page;
      continue;
    }
    words[0] = table.lock(page);
    std::uint64_t count = 1;
    if (ours(words[0]))
      for (; page + count < end && ours(table.load(page + count)); ++count) {
        const auto word = table.try_lock(page + count);
        if (!word) break;
        words[count] = *word;
        if (ours(*word)) continue;
        table.unlock(page + count, *word);
        break;
      }
    std::uint64_t given = 0;
    if (ours(words[0])) {
      int error = 0;
      given = guest_.isolator().give(guest_, page, count, error);
      region::drop(guest_.counters.staging, given);
      SwapStore::of(guest_).stranded |= given < count;
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto word = words[i].with_watch(Watch::none);
      table.unlock(page + i, i < given ? word.with_state(PageState::resident) : word);
    }
    table.released();
    page += count;
  }
}

// Pages of it that wait for their touch because they were taken for it.
std::uint64_t Sampler::waiting(const Unit& unit) const noexcept {
  return unit.taken && !unit.handed && !unit.touched ? isolated(unit) : 0;
}

std::uint64_t Sampler::isolated(const Unit& unit) const noexcept {
  std::uint64_t count = 0;
  for (auto page = unit.first; page < unit.first + unit.count; ++page) {
    const auto word = guest_.table.load(page);
    count += word.watched() && waits(word) ? 1 : 0;
  }
  return count;
}

std::uint64_t Sampler::parked() const noexcept {
  return std::accumulate(units_.begin(), units_.end(), std::uint64_t{0},
                         [&](std::uint64_t sum, const Unit& u) { return sum + waiting(u); });
}

std::uint64_t Sampler::release_parked(Evictor& evictor, base::Nanos now, std::uint64_t most) {
  // Without a file to write to, they wait where they are.
  if (!SwapStore::of(guest_).writable(now)) return 0;
  std::uint64_t released = 0;
  for (auto& unit : units_) {
    const auto count = waiting(unit);
    if (count == 0 || released + count > most) continue;
    evictor.adopt(unit.first, unit.count, static_cast<std::uint32_t>(count), since_);
    unit.handed = true;
    released += count;
  }
  return released;
}

void Sampler::hand_on_again(Evictor& evictor) {
  for (const auto& unit : units_) {
    if (unit.taken && !unit.handed) continue;  // it waits for its touch
    if (const auto count = isolated(unit); count > 0)
      evictor.adopt(unit.first, unit.count, static_cast<std::uint32_t>(count), since_);
  }
}

}  // namespace vmm::reclaim
