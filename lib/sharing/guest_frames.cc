#include "sharing/guest_frames.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <thread>

#include "region/isolator.h"

namespace vmm::sharing {

using region::bump;
using region::PageState;
using region::PageWord;

namespace {

std::uint64_t broken_among(const PageWord* words, std::uint64_t count) noexcept {
  return static_cast<std::uint64_t>(std::count_if(words, words + count, [](PageWord w) { return w.broken(); }));
}

// A word of a page that was shared.
PageWord plain(PageWord word, PageState state) noexcept {
  return word.without_slot().with_writing(false).with_state(state);
}

// What is made aside comes first of all: without memory to say why it cannot be made, nothing has changed.
template <class Change>
int or_no_memory(Change&& change) noexcept {
  try {
    return change();
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
}

}  // namespace

// The memory is unmapped: nobody reads the frames there any more, and nobody else looks at the words.
GuestFrames::~GuestFrames() {
  mappings_.remove(counted_);
  auto left = guest_.counters.shared.load();
  std::array<PageWord, region::kMostTaken> words;
  std::uint64_t count = 0;
  for (std::uint64_t page = 0; left > 0 && page < guest_.pages(); ++page) {
    const auto word = guest_.table.load(page);
    if (word.state() != PageState::shared) continue;
    words[count++] = word;
    --left;
    if (count < words.size() && left > 0) continue;
    release(words.data(), count);
    count = 0;
  }
}

int GuestFrames::show(std::uint64_t first, const FrameStore& store, FrameRun run, PageWord* words,
                      os::DropList& staged) noexcept {
  // Before there is any: who changes the home looks for them then.
  bump(guest_.counters.shared, run.count);
  if (const int e = ShownFrames::show(guest_, first, store, run)) {
    region::drop(guest_.counters.shared, run.count);
    return e;
  }
  // What the kernel does not drop is a copy that nobody reads; its place in staging must not be used again, nor is it.
  staged.add(guest_.staged(first), run.count * kPageSize);
  region::drop(guest_.counters.staging, run.count);
  staging_tables_.emptied(first, run.count);
  guest_.uncharge(run.count);
  const auto more = mappings_of(first, run.count);
  mappings_.add(more);
  counted_ += more;
  const auto number = stores_.number_of(store, run.first);
  for (std::uint64_t i = 0; i < run.count; ++i) words[i] = words[i].with_frame(number + i);
  return 0;
}

// What a run in the midst of other memory costs, less one for each side where another run or the guest ends already.
std::uint64_t GuestFrames::mappings_of(std::uint64_t first, std::uint64_t count) const noexcept {
  const auto is_shared = [&](std::uint64_t page) { return guest_.table.load(page).state() == PageState::shared; };
  const auto end = first + count;
  const bool left = first > 0 && !is_shared(first - 1), right = end < guest_.pages() && !is_shared(end);
  return (left ? 1U : 0U) + (right ? 1U : 0U);
}

int GuestFrames::hide(std::uint64_t first, std::uint64_t count, PageWord* words) noexcept {
  // What is written is in memory already, and the rest has to be: its owner waits.
  const auto more = count - broken_among(words, count);
  guest_.charge_present(more);
  if (const int e = while_open([&] { return shown_.hide(guest_, first, count); })) {
    guest_.uncharge(more);
    return e;
  }
  bump(guest_.counters.staging, count);
  region::drop(guest_.counters.shared, count);
  release(words, count);
  for (std::uint64_t i = 0; i < count; ++i) words[i] = plain(words[i], PageState::isolated);
  return 0;
}

void GuestFrames::mark_broken(std::uint64_t count, PageWord* words) noexcept {
  guest_.charge_present(count);
  for (std::uint64_t i = 0; i < count; ++i) words[i] = words[i].with_broken();
}

int GuestFrames::drop(std::uint64_t first, std::uint64_t count, PageWord* words) noexcept {
  if (const int e = while_open([&] { return shown_.drop(guest_, first, count); })) return e;
  region::drop(guest_.counters.shared, count);
  guest_.uncharge(broken_among(words, count));
  release(words, count);
  for (std::uint64_t i = 0; i < count; ++i) words[i] = plain(words[i], PageState::empty);
  return 0;
}

template <class Change>
int GuestFrames::while_open(Change&& change) noexcept {
  taking_out_.fetch_add(1);
  const int e = closed_ ? ESHUTDOWN : or_no_memory(change);
  taking_out_.fetch_sub(1);
  return e;
}

int GuestFrames::take_out(std::uint64_t first, std::uint64_t count) noexcept {
  constexpr std::uint64_t kMost = 64;
  std::array<PageWord, kMost> words;
  const auto end = first + count;
  for (auto page = first; page < end;) {
    if (guest_.table.load(page).state() != PageState::shared) {
      ++page;
      continue;
    }
    std::uint64_t n = 0;
    for (; n < kMost && page + n < end; ++n) {
      words[n] = guest_.table.lock(page + n);
      if (words[n].state() == PageState::shared) continue;
      guest_.table.unlock(page + n, words[n]);
      break;
    }
    int error = n == 0 ? 0 : hide(page, n, words.data());
    if (n != 0 && error == 0) {
      int refused = 0;
      const auto given = guest_.isolator().give(guest_, page, n, refused);
      region::drop(guest_.counters.staging, given);
      // The rest is rescued from staging when it is touched.
      for (std::uint64_t i = 0; i < given; ++i) words[i] = words[i].with_state(PageState::resident);
    }
    for (std::uint64_t i = 0; i < n; ++i) guest_.table.unlock(page + i, words[i]);
    guest_.table.released();
    if (error != 0) return error;
    page += std::max<std::uint64_t>(n, 1);
  }
  return 0;
}

void GuestFrames::count_mappings(std::uint64_t all) noexcept {
  mappings_.add(all);
  mappings_.remove(counted_);
  counted_ = all;
}

void GuestFrames::close() noexcept {
  closed_ = true;
  while (taking_out_ != 0) std::this_thread::yield();
}

// Frames of one store that follow each other at once.
void GuestFrames::release(const PageWord* words, std::uint64_t count) noexcept {
  for (std::uint64_t i = 0; i < count;) {
    const auto first = words[i].frame();
    std::uint64_t n = 1;
    while (i + n < count && words[i + n].frame() == first + n) ++n;
    // Frames that the kernel keeps are lost to the store, which counts them.
    static_cast<void>(stores_.of(first).release({FrameStores::frame_of(first), n}));
    i += n;
  }
}

}  // namespace vmm::sharing
