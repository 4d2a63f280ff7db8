#include "sharing/share_batch.h"

#include <algorithm>

#include "os/pagemap.h"
#include "sharing/guest_frames.h"
#include "sharing/racy_bytes.h"
#include "sharing/share_states.h"

namespace vmm::sharing {

using region::bump;
using region::GuestMemory;
using region::kPagesPerHuge;
using region::PageState;
using region::PageWord;

namespace {

// A run of so many pages with their equals, which follow each other, is worth a double.
constexpr auto kLong = MappingBudget::kLong;

}  // namespace

void ShareBatch::begin(GuestMemory& guest, std::uint64_t first, std::uint32_t salt, const PageKeys& keys,
                       bool break_huge, int tid) noexcept {
  clear();
  tid_ = tid;
  keys_ = &keys;
  own_.emplace(guest, first, own_words_);
  salt_ = salt;
  break_huge_ = break_huge;
  own_place_ = place_ = {};
  own_reading_.emplace(guest, tid_);
}

void ShareBatch::clear() noexcept {
  while (piece_count_ > 0) drop_piece();
  own_reading_.reset();
  own_.reset();
  doubles_.reset();
}

// The last one.
void ShareBatch::drop_piece() noexcept {
  auto& piece = pieces_[--piece_count_];
  trim(piece, 0);
  piece.reading.reset();
  piece.pages.reset();
}

void ShareBatch::begin_reading(std::optional<Reading>& reading, GuestMemory& guest) noexcept {
  if (&guest != &own_->guest()) reading.emplace(guest, tid_);
}

bool ShareBatch::is_spared(HugePlace& place, GuestMemory& guest, std::uint64_t page) const noexcept {
  if (break_huge_ || !guest.options().large_pages) return false;
  const auto huge = page / kPagesPerHuge;
  if (place.guest != &guest || place.number != huge) {
    std::uint8_t bits = 0;
    // What is not known counts as huge.
    const bool is_huge = guest.pagemap().bits(guest.at(page), 1, &bits) != 0 || (bits & os::kHuge) != 0;
    place = {&guest, huge, is_huge};
  }
  return place.is_huge;
}

bool ShareBatch::lock_next() noexcept {
  const auto page = own_->end();
  return page < own_->guest().pages() && !is_spared(own_place_, own_->guest(), page) && own_->lock_next(may_be_shared);
}

// Takes the locked page's equal, which follows the piece's last, along if it is equal.
bool ShareBatch::extend(Piece& piece) noexcept {
  if (!piece.pages) {
    const auto frame = piece.frame + piece.count;
    if (!notes_.try_hold(frame, salt_)) return false;
    ++piece.count;
    if (equal_racy(next(), store_.bytes(frame))) return true;
    trim(piece, piece.count - 1);
    return false;
  }
  auto& pages = *piece.pages;
  const auto page = pages.end();
  if (page == pages.guest().pages() || is_spared(place_, pages.guest(), page)) return false;
  if (!pages.lock_next(may_be_shared) && !(take_along(piece) && pages.lock_next(may_be_shared))) return false;
  ++piece.count;
  if (equal_racy(next(), pages.at(pages.count() - 1))) return true;
  trim(piece, piece.count - 1);
  return false;
}

// The page that follows the piece's equals shows a frame already, as do so few after it that the run is worth more: if
// it equals the locked page, it is made a page like others.
bool ShareBatch::take_along(Piece& piece) noexcept {
  auto& guest = piece.pages->guest();
  const auto page = piece.pages->end();
  auto& frames = GuestFrames::of(guest);
  if (piece.count < kLong || !frames.mappings().scarce()) return false;
  if (guest.credit().free() <= guest.credit().marks().low.load(std::memory_order_relaxed)) return false;
  const auto shows = [&](PageWord w) { return may_be_hidden(w) && !w.broken() && &stores_.of(w.frame()) == &store_; };
  const auto first = guest.table.load(page);
  if (!shows(first)) return false;
  std::uint64_t count = 1;
  const auto goes_on = [&](PageWord w) { return w.state() == PageState::shared && w.frame() == first.frame() + count; };
  while (count < kLong && page + count < guest.pages() && goes_on(guest.table.load(page + count))) ++count;
  std::array<PageWord, 1> word;
  LockedPages one(guest, page, word);
  if (count == kLong || !one.lock_next(shows) || !equal_racy(next(), one.at(0))) return false;
  const auto frame = FrameStores::frame_of(word[0].frame());
  if (!notes_.try_hold(frame, salt_)) return false;
  const bool hidden = frames.hide(page, 1, word.data()) == 0;
  if (hidden) {
    doubles_.set(own_->count() - 1);
    ++doubles_made_;
    notes_.note(frame, *keys_);  // for others, and for these when there are mappings
  }
  static_cast<void>(store_.release({frame, 1}));
  return hidden;
}

bool ShareBatch::follow() noexcept { return piece_count_ > 0 && extend(pieces_[piece_count_ - 1]); }

ShareBatch::Added ShareBatch::add(Equal equal) noexcept {
  auto& piece = pieces_[piece_count_++];
  piece.at = own_->count() - 1;
  piece.count = 0;
  if (equal.guest == nullptr) {
    piece.frame = equal.first;
  } else {
    piece.pages.emplace(*equal.guest, equal.first, std::span(words_).subspan(piece.at));
    begin_reading(piece.reading, *equal.guest);
  }
  if (extend(piece)) return Added::yes;
  bool differs = true;
  if (equal.guest != nullptr) {
    const auto word = equal.guest->table.load(equal.first);
    differs = may_be_shared(word) && !word.locked() && !is_spared(place_, *equal.guest, equal.first);
  }
  drop_piece();
  return differs ? Added::never : Added::not_now;
}

std::uint64_t ShareBatch::equal_before(Equal equal, std::uint64_t most) noexcept {
  most = std::min({most, own_->first(), equal.first});
  std::uint64_t count = 0;
  while (count < most && is_equal_before(equal, count + 1)) ++count;
  return count;
}

// So many pages before both.
bool ShareBatch::is_equal_before(Equal equal, std::uint64_t count) noexcept {
  std::array<region::PageWord, 2> words;
  LockedPages page(own_->guest(), own_->first() - count, std::span(words).first(1));
  if (is_spared(own_place_, page.guest(), page.first()) || !page.lock_next(may_be_shared)) return false;
  const auto first = equal.first - count;
  if (equal.guest == nullptr) {
    if (!notes_.try_hold(first, salt_)) return false;
    const bool same = equal_racy(page.at(0), store_.bytes(first));
    static_cast<void>(store_.release({first, 1}));
    return same;
  }
  LockedPages other(*equal.guest, first, std::span(words).last(1));
  if (is_spared(place_, other.guest(), other.first()) || !other.lock_next(may_be_shared)) return false;
  std::optional<Reading> reading;
  begin_reading(reading, *equal.guest);
  return equal_racy(page.at(0), other.at(0));
}

std::uint64_t ShareBatch::end_piece() noexcept {
  if (piece_count_ == 0) return 0;
  const auto& piece = pieces_[piece_count_ - 1];
  const auto at = piece.at, count = piece.count;
  const auto pending = piece_count_ * 2 * MappingBudget::kOfARun;
  if (GuestFrames::of(own_->guest()).mappings().permits(count, pending)) return 0;
  drop_piece();
  own_->settle_from(at);
  bump(counts().no_mapping, count);
  return count;
}

// What comes after the piece's first pages is let go of, on the side of their equals.
void ShareBatch::trim(Piece& piece, std::uint64_t count) noexcept {
  if (piece.pages) piece.pages->settle_from(std::min(count, piece.pages->count()));
  else if (piece.count > count) static_cast<void>(store_.release({piece.frame + count, piece.count - count}));
  piece.count = std::min(piece.count, count);
}

void ShareBatch::compare(Piece& piece) noexcept {
  const auto wanted = piece.count;
  trim(piece, std::min(wanted, own_->count() - std::min(own_->count(), piece.at)));
  if (piece.pages) {
    piece.pages->isolate();
    piece.count = piece.pages->count();
  }
  bump(counts().busy, wanted - piece.count);
  const auto bytes = [&](std::uint64_t i) {
    return piece.pages ? piece.pages->staged(i) : store_.bytes(piece.frame + i);
  };
  std::uint64_t equal = 0;
  while (equal < piece.count && equal_racy(own_->staged(piece.at + equal), bytes(equal))) ++equal;
  bump(counts().changing, piece.count - equal);
  trim(piece, equal);
}

void ShareBatch::share() noexcept {
  if (!own_) return;
  own_first_ = own_->first();
  own_->isolate();
  for (std::size_t i = 0; i < piece_count_; ++i) compare(pieces_[i]);
  for (std::size_t i = 0; i < piece_count_;) {
    auto& piece = pieces_[i];
    if (piece.count == 0) {
      ++i;
      continue;
    }
    // Those before it have no equals any more.
    own_->settle_front(own_first_ + piece.at - own_->first());
    if (piece.pages) {
      i = share_pages(i);
    } else {
      share_frames(piece);
      ++i;
    }
  }
  clear();
}

// The piece's own pages, which are the first, show its frames.
void ShareBatch::share_frames(Piece& piece) noexcept {
  if (show(*own_, {piece.frame, piece.count})) {
    staged_.drop();
    // The references are the pages' now.
    own_->settle_front(piece.count);
    piece.count = 0;
  } else {
    trim(piece, 0);
  }
}

// The first pages show the run, if that can be. Counts.
bool ShareBatch::show(LockedPages& pages, FrameRun run) noexcept {
  auto& counts = pages.guest().counters.share;
  const bool shown = GuestFrames::of(pages.guest()).show(pages.first(), store_, run, pages.words(), staged_) == 0;
  bump(shown ? counts.shared : counts.no_mapping, run.count);
  return shown;
}

// Of pieces [first, ...), as many as follow each other, pages and their equals show frames that do, too. Returns the
// piece after them.
std::size_t ShareBatch::share_pages(std::size_t first) noexcept {
  const auto begin = pieces_[first].at;
  auto end = first;
  std::uint64_t count = 0;
  for (; end < piece_count_ && pieces_[end].pages && pieces_[end].at == begin + count && pieces_[end].count > 0; ++end)
    count += pieces_[end].count;
  const auto give_up = [&](std::uint64_t from) {
    bump(counts().no_memory, count - from);
    for (auto i = first; i < end; ++i) trim(pieces_[i], from - std::min(from, pieces_[i].at - begin));
  };
  // In line with what comes before it: one mapping can show both then.
  std::optional<std::uint64_t> next;
  if (own_->first() > 0)
    if (const auto before = own_->guest().table.load(own_->first() - 1);
        before.state() == PageState::shared && &stores_.of(before.frame()) == &store_)
      next = FrameStores::frame_of(before.frame()) + 1;
  const auto run = store_.allocate(count, next);
  if (!run) {
    give_up(0);
    return end;
  }
  if (run->count < count) give_up(run->count);
  if (store_.fill(*run, own_->staged(0)) != 0) {
    static_cast<void>(store_.release(*run));
    give_up(0);
    return end;
  }
  notes_.set_salt(*run, salt_);
  for (std::uint64_t i = 0; i < run->count; ++i)
    if (doubles_[begin + i]) notes_.set_double(run->first + i);
  store_.hold(*run);
  for (auto i = first; i < end; ++i) {
    auto& piece = pieces_[i];
    const FrameRun part{run->first + (piece.at - begin), piece.count};
    if (part.count > 0 && !show(*piece.pages, part)) static_cast<void>(store_.release(part));
  }
  if (!show(*own_, *run)) static_cast<void>(store_.release(*run));
  staged_.drop();
  own_->settle_front(run->count);
  return end;
}

}  // namespace vmm::sharing
