#include "sharing/sharer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/zero_page.h"
#include "os/affinity.h"
#include "os/mapping.h"
#include "os/pagemap.h"
#include "region/isolator.h"
#include "sharing/due_pages.h"
#include "sharing/guest_frames.h"
#include "sharing/locked_pages.h"
#include "sharing/racy_bytes.h"
#include "sharing/reading.h"
#include "sharing/share_states.h"

namespace vmm::sharing {

using region::bump;
using region::GuestMemory;
using region::PageState;
using region::PageWord;

namespace {

// Looked at with one look at the page map.
constexpr std::uint64_t kChunk = DuePages::kMost;
// Buckets of the table that are looked at for frames that nobody has any more, for each chunk.
constexpr std::uint64_t kSwept = 64;
// The clock is asked after so many pages that are like no others.
constexpr std::uint64_t kFewPages = 16;
// Each so many passes look at what was not written, too: hints may have lost their places since.
constexpr std::uint64_t kWholePass = 32;
// Pages that no mapping was left for are looked at again when such a part of all mappings is.
constexpr std::uint64_t kWorthALook = 16;

}  // namespace

struct Sharer::Member {
  Member(GuestMemory& g, std::string_view salt_text, std::uint32_t number, const ProcessSecret& secret)
      : guest(g), salt(salt_text), salt_number(number), keys(secret, salt_text), due(g) {}

  GuestMemory& guest;
  const std::string salt;
  const std::uint32_t salt_number;
  const PageKeys keys;
  DuePages due;
  std::uint64_t base = 0;         // number of its first page over all guests
  std::uint64_t next = 0;         // page
  std::uint64_t next_broken = 0;  // page: of find_broken()
  std::uint64_t passes = 0;       // begun
  bool begun = false;             // a pass
  bool tidying = false;           // there is nothing to look at, but tables of staging to be given back
  // References to frames had been given up so often when the last pass began that left nothing to be taken back, and
  // when the one began that is under way; whether that has left nothing so far.
  std::uint64_t settled = ~std::uint64_t{0}, releases = 0;
  bool leaves_nothing = false;
  // Doubles that had been made when the last pass began that left none of this guest's, and when the one began that is
  // under way; whether that takes them back.
  std::uint64_t undoubled = 0, doubles = 0;
  bool undoubles = false;
  // The same, and what the guest held, when its sharing was told last.
  std::uint64_t told_changes = ~std::uint64_t{0}, told_resident = 0;
  Unchanged unchanged;
  bool refused = false;           // some equal pages were not shared for lack of mappings
  bool unnoted = false;           // hints that lead to its frames may be gone
  bool notes = false;             // in this pass its frames are noted themselves
};

Result<std::unique_ptr<Sharer>> Sharer::create(const ProcessSecret& secret, const FrameStores& stores,
                                               FrameStore& store, const SharerOptions& options) {
  auto made = ShareTable::create(options.table_entries);
  if (!made) return tl::unexpected(made.error());
  auto table = std::make_unique<ShareTable>(std::move(*made));
  auto notes = FrameNotes::create(store, *table, options.key_mask);
  if (!notes) return tl::unexpected(notes.error());
  auto seen = FrameSet::create(store.capacity());
  if (!seen) return tl::unexpected(seen.error());
  return std::unique_ptr<Sharer>(
      new Sharer(secret, stores, store, options, std::move(table), std::move(*notes), std::move(*seen)));
}

Sharer::Sharer(const ProcessSecret& secret, const FrameStores& stores, FrameStore& store, const SharerOptions& options,
               std::unique_ptr<ShareTable> table, FrameNotes notes, FrameSet seen) noexcept
    : secret_(secret),
      key_mask_(options.key_mask),
      most_time_(options.most_time),
      stores_(stores),
      store_(store),
      table_(std::move(table)),
      notes_(std::move(notes)),
      taken_back_(stores, store, notes_),
      batch_(stores, store, notes_),
      seen_(std::move(seen)) {}

Sharer::~Sharer() = default;

// Its pages get the first numbers that are free. What the table knows of pages that had them before are hints, and out
// of date.
void Sharer::add(GuestMemory& guest, std::string_view salt) {
  const auto same = std::find_if(members_.begin(), members_.end(), [&](const auto& m) { return m->salt == salt; });
  const auto number = same != members_.end() ? (*same)->salt_number : ++last_salt_;
  auto member = std::make_unique<Member>(guest, salt, number, secret_);
  auto place = members_.begin();
  for (; place != members_.end() && (*place)->base - member->base < guest.pages(); ++place)
    member->base = (*place)->base + (*place)->guest.pages();
  members_.insert(place, std::move(member));
}

// Hints that lead to its pages lead nowhere then, also where others show the same frames.
void Sharer::remove(const GuestMemory& guest) noexcept {
  const auto* const gone = find(guest);
  if (gone == nullptr) return;
  batch_.clear();
  for (auto& m : members_) m->unnoted = m->unnoted || m->salt_number == gone->salt_number;
  std::erase_if(members_, [&](const auto& m) { return m.get() == gone; });
}

Sharer::Member* Sharer::find(const GuestMemory& guest) const noexcept {
  const auto m = std::find_if(members_.begin(), members_.end(), [&](const auto& one) { return &one->guest == &guest; });
  return m == members_.end() ? nullptr : m->get();
}

Sharer::Member* Sharer::owner_of(std::uint64_t number) const noexcept {
  const auto after = std::upper_bound(members_.begin(), members_.end(), number,
                                      [](std::uint64_t n, const auto& m) { return n < m->base; });
  if (after == members_.begin()) return nullptr;
  auto* const member = std::prev(after)->get();
  return number - member->base < member->guest.pages() ? member : nullptr;
}

void Sharer::restart(const GuestMemory& guest) noexcept {
  auto* const member = find(guest);
  if (member == nullptr) return;
  member->next = 0;
  member->begun = false;
}

bool Sharer::step(GuestMemory& guest, std::uint64_t most, bool break_huge) {
  auto* const member = find(guest);
  if (member == nullptr || !guest.adopted()) return true;
  const Deadline deadline(most_time_);
  tid_ = os::current_tid();
  auto& staging_tables = GuestFrames::of(guest).staging_tables();
  if (!member->begun && (member->tidying || !begin_pass(*member))) {
    // What others have found equal to pages of it since it was looked at last has left staging, too.
    member->tidying = !staging_tables.give_back_next(deadline);
    return !member->tidying;
  }
  const OthersFaults::Looking looking(others_faults_);
  do {
    const auto count = std::min({kChunk, most, guest.pages() - member->next});
    const auto looked = look_at_chunk(*member, member->next, count, break_huge, deadline);
    staging_tables.give_back(member->next, looked, deadline);
    member->next += looked;
    most -= looked;
  } while (most > 0 && member->next < guest.pages() && !deadline.passed());
  if (member->next < guest.pages()) {
    guest.counters.share.waiting.store(guest.pages() - member->next, std::memory_order_relaxed);
    return false;
  }
  member->next = 0;
  member->begun = false;
  if (member->leaves_nothing && member->due.all_done()) member->unchanged.left_nothing();
  member->settled = member->leaves_nothing ? member->releases : ~std::uint64_t{0};
  if (member->undoubles && member->leaves_nothing) member->undoubled = member->doubles;
  guest.counters.share.waiting.store(0, std::memory_order_relaxed);
  return true;
}

// False: it is at its end already, for there is nothing to look at.
bool Sharer::begin_pass(Member& member) noexcept {
  const bool whole = ++member.passes % kWholePass == 0;
  const auto& mappings = GuestFrames::of(member.guest).mappings();
  const bool once_more = whole || (member.refused && mappings.permits(1, mappings.most() / kWorthALook));
  if (once_more) {
    member.due.forget();
    member.refused = false;
  }
  member.notes = whole || member.unnoted;
  member.unnoted = false;
  member.doubles = batch_.doubles();
  member.undoubles = member.undoubled != member.doubles && mappings.plentiful();
  if (once_more || member.notes || member.undoubles) member.unchanged.forget();
  if (member.unchanged.begin(member.guest, stores_, others_faults_)) return false;
  member.begun = true;
  member.releases = stores_.releases();
  member.leaves_nothing = true;
  return true;
}

// Returns how many of the pages it has come to: all, or as many as time permits.
std::uint64_t Sharer::look_at_chunk(Member& member, std::uint64_t first, std::uint64_t count, bool break_huge,
                                    const Deadline& deadline) noexcept {
  auto& guest = member.guest;
  const auto end = first + count;
  // Else what once was shared would fill the table, and nothing more could be noted.
  if (table_->counts().shared != 0)
    table_->sweep(sweep_hand_, kSwept, [&](std::uint64_t frame) { return store_.references(frame) == 0; });
  if (guest.counters.shared != 0) {
    // Then they are pages like others.
    const bool settled = member.settled == stores_.releases() && !member.undoubles;
    const bool none_left = taken_back_.take(guest, member.keys, first, count, settled, member.undoubles, deadline);
    member.leaves_nothing = member.leaves_nothing && none_left;
    if (member.notes) note_frames(member, first, count);
  }
  if (guest.counters.pinned != 0)
    for (auto page = first; page < end; ++page)
      if (guest.table.load(page).pinned()) bump(guest.counters.share.pinned);
  member.due.find(first, count);
  std::uint64_t alone = 0;
  for (auto page = first; page < end;) {
    if (!member.due.due(page)) {
      ++page;
      continue;
    }
    const auto looked = look_from(member, page, end, break_huge);
    page += looked;
    if ((looked > 1 || ++alone % kFewPages == 0) && deadline.passed()) return page - first;
  }
  return count;
}

// Looks at the page, which is due, and takes those after it along for as long as they have equals, too, or are of zeros
// as well. Returns how many it has come to.
std::uint64_t Sharer::look_from(Member& member, std::uint64_t page, std::uint64_t end, bool break_huge) noexcept {
  if (member.due.huge(page) && !break_huge) {
    look_at_huge(member, page);
    return 1;
  }
  const auto begin = [&](std::uint64_t first) {
    batch_.begin(member.guest, first, member.salt_number, member.keys, break_huge, tid_);
    return batch_.lock_next();
  };
  // A batch that was begun and not shared must not outlive this: its guest may end.
  if (!begin(page)) {
    batch_.clear();
    return 1;
  }
  if (is_zero_racy(batch_.next())) {
    batch_.clear();
    return drop_zeros(member, page, end, break_huge);
  }
  const auto found = look_up(member, page, batch_.next());
  if (!found) {
    batch_.clear();
    return 1;
  }
  auto next = page;  // the page after the last that is in the batch
  const auto& equal = found->equal;
  const auto before = batch_.equal_before(equal, LockedPages::kMost / 2);
  if (before > 0 && begin(page - before) &&
      batch_.add({equal.guest, equal.first - before}) == ShareBatch::Added::yes) {
    next = page - before + 1;
  } else if (before > 0 && !begin(page)) {
    batch_.clear();
    return 1;
  } else if (const auto added = batch_.add(equal); added != ShareBatch::Added::yes) {
    batch_.clear();
    note_instead(member, page, *found, added);
    return 1;
  } else {
    ++next;
  }
  next = gather(member, page, next, end);
  batch_.share();
  return next > page ? next - page : 1;
}

// Takes pages from `next` on into the batch as long as they have equals; those before `page` only while they follow.
// Returns the page after the last that it has come to.
std::uint64_t Sharer::gather(Member& member, std::uint64_t page, std::uint64_t next, std::uint64_t end) noexcept {
  while (next < end && batch_.lock_next()) {
    if (batch_.follow()) {
      ++next;
      continue;
    }
    batch_.unlock_next();
    if (!end_piece(member, next) || next < page || !member.due.due(next) || !batch_.lock_next()) return next;
    const bool zero = is_zero_racy(batch_.next());
    const auto another = zero ? std::nullopt : look_up(member, next, batch_.next());
    const auto added = another ? batch_.add(another->equal) : ShareBatch::Added::never;
    if (added == ShareBatch::Added::yes) {
      ++next;
      continue;
    }
    batch_.unlock_next();
    // Pages of zeros are another matter; and what this one is equal to may be in this very batch: it is looked at once
    // more after that.
    if (zero || added == ShareBatch::Added::not_now) return next;
    if (another) note_instead(member, next, *another, added);
    return next + 1;
  }
  static_cast<void>(end_piece(member, next));
  return next;
}

// What was found is not equal to the page after all, or nobody could tell.
void Sharer::note_instead(Member& member, std::uint64_t page, const Found& found, ShareBatch::Added added) noexcept {
  bump(member.guest.counters.share.changing);
  const auto number = member.base + page;
  bool noted = false;
  if (found.entry.shared) {
    // Nobody has that frame any more, or it holds something else: of another salt perhaps, whose key is equal by
    // chance.
    table_->erase(found.key, found.entry);
    noted = !table_->offer(found.key, number);
  } else {
    noted = table_->replace(found.key, found.entry, {false, number}) && added == ShareBatch::Added::never;
  }
  if (noted) member.due.done(page);
}

// False: mappings are not spent on so few pages as those before `next`, which are looked at again when they may be.
bool Sharer::end_piece(Member& member, std::uint64_t next) noexcept {
  const auto let_go = batch_.end_piece();
  for (auto page = next - let_go; page < next; ++page)
    if (page >= member.due.first()) member.due.done(page);
  member.refused = member.refused || let_go > 0;
  return let_go == 0;
}

// What the page, which is locked, is equal to as it seems. Nothing: then it is noted, and done.
std::optional<Sharer::Found> Sharer::look_up(Member& member, std::uint64_t page, const std::byte* bytes) noexcept {
  bump(member.guest.counters.share.looked);
  const auto number = member.base + page;
  const auto key = member.keys.key_of(bytes) & key_mask_;
  if (const auto entry = table_->offer(key, number)) {
    if (entry->shared) return Found{key, *entry, {nullptr, entry->number}};
    auto* const other = owner_of(entry->number);
    if (other != nullptr && other->salt_number == member.salt_number && entry->number != number) {
      const auto first = entry->number - other->base;
      const auto word = other->guest.table.load(first);
      if (word.state() != PageState::shared) return Found{key, *entry, {&other->guest, first}};
      if (!word.broken() && &stores_.of(word.frame()) == &store_)
        return Found{key, *entry, {nullptr, FrameStores::frame_of(word.frame())}};
    }
    table_->replace(key, *entry, {false, number});
  }
  member.due.done(page);
  return std::nullopt;
}

// Its key is noted only.
void Sharer::look_at_huge(Member& member, std::uint64_t page) noexcept {
  auto& counts = member.guest.counters.share;
  LockedPages::Words words;
  LockedPages one(member.guest, page, words);
  if (!one.lock_next(may_be_shared)) return;
  const Reading reading(member.guest, tid_);
  bump(counts.looked);
  if (is_zero_racy(one.at(0)) || table_->offer(member.keys.key_of(one.at(0)) & key_mask_, member.base + page))
    bump(counts.huge);
}

std::uint64_t Sharer::drop_zeros(Member& member, std::uint64_t page, std::uint64_t end, bool break_huge) noexcept {
  auto& guest = member.guest;
  LockedPages::Words words;
  LockedPages run(guest, page, words);
  {
    const Reading reading(guest, tid_);
    const auto may_be_next = [&](std::uint64_t p) {
      return p < end && member.due.due(p) && (break_huge || !member.due.huge(p));
    };
    while (may_be_next(run.end()) && run.lock_next(may_be_shared)) {
      if (is_zero_racy(run.at(run.count() - 1))) continue;
      run.settle_from(run.count() - 1);
      break;
    }
  }
  const auto looked = run.count();
  bump(guest.counters.share.looked, looked);
  run.isolate();
  std::uint64_t zeros = 0;
  while (zeros < run.count() && base::is_zero_page(run.staged(zeros))) ++zeros;
  run.settle_from(zeros);
  if (zeros > 0 && os::drop_pages(run.staged(0), zeros * kPageSize) == 0) {
    region::drop(guest.counters.staging, zeros);
    GuestFrames::of(guest).staging_tables().emptied(run.first(), zeros);
    guest.uncharge(zeros);
    bump(guest.counters.share.zero, zeros);
    for (std::uint64_t i = 0; i < zeros; ++i) run.words()[i] = run.words()[i].with_dropped();
  }
  return std::max<std::uint64_t>(looked, 1);
}

// Those of the pages, which others may show, too, but that no hint leads to.
void Sharer::note_frames(Member& member, std::uint64_t first, std::uint64_t count) noexcept {
  for (auto page = first; page < first + count; ++page) {
    const auto word = member.guest.table.load(page);
    if (word.state() != PageState::shared || word.broken() || &stores_.of(word.frame()) != &store_) continue;
    // Held meanwhile: read when nobody has it, the kernel would make a page for it.
    const auto frame = FrameStores::frame_of(word.frame());
    if (!notes_.try_hold(frame, member.salt_number)) continue;
    notes_.note(frame, member.keys);
    static_cast<void>(store_.release({frame, 1}));
  }
}

std::uint64_t Sharer::give_up(GuestMemory& guest, std::uint64_t most) noexcept {
  if (guest.counters.shared == 0 || find(guest) == nullptr) return 0;
  return TakenBack::give_up(guest, most);
}

bool Sharer::find_broken(GuestMemory& guest, std::uint64_t most) noexcept {
  auto* const member = find(guest);
  if (member == nullptr || !guest.adopted() || guest.counters.shared == 0) return true;
  const Deadline deadline(most_time_);
  for (auto& page = member->next_broken; most > 0 && page < guest.pages();) {
    const auto count = std::min({region::kMostTaken, guest.pages() - page, most});
    static_cast<void>(taken_back_.take(guest, member->keys, page, count, false, false, deadline));
    page += count;
    most -= count;
  }
  if (member->next_broken < guest.pages()) return false;
  member->next_broken = 0;
  return true;
}

void Sharer::estimate(GuestMemory& guest, std::uint64_t first, std::uint64_t count, ShareEstimator& estimator) {
  const auto* const member = find(guest);
  auto* const group = member == nullptr ? nullptr : estimator.find(member->salt);
  if (group == nullptr || !guest.adopted()) return;
  std::array<std::uint8_t, kChunk> bits;
  if (guest.pagemap().bits(guest.at(first), count, bits.data()) != 0) return;
  LockedPages::Words words;
  const auto in_memory = [](PageWord w) { return w.state() == PageState::resident || w.state() == PageState::shared; };
  const int tid = os::current_tid();
  for (auto page = first; page < first + count; ++page) {
    if (guest.table.load(page).dropped()) group->add_zero();
    LockedPages one(guest, page, words);
    if (!one.lock_next(in_memory)) continue;
    // A frame is in memory although the guest's page table may not say so.
    if ((bits[page - first] & os::kPresent) == 0 && one.words()[0].state() != PageState::shared) continue;
    const Reading reading(guest, tid);
    group->add(one.at(0), estimator.keys());
  }
}

void Sharer::tell_sharing(GuestMemory& guest) noexcept {
  auto* const member = find(guest);
  if (member == nullptr) return;
  const OthersFaults::Looking looking(others_faults_);
  const auto changes = stores_.changes(), resident = guest.counters.resident.load();
  if (member->told_changes == changes && member->told_resident == resident) return;
  member->told_changes = changes;
  member->told_resident = resident;
  double common = 0;
  constexpr auto kNone = ~std::uint64_t{0};
  std::uint64_t mappings = 0, frames = 0, candidates = 0, next = kNone;  // the frame that would go on with the run
  for (std::uint64_t page = 0; page < guest.pages(); ++page) {
    const auto word = guest.table.load(page);
    if (word.state() != PageState::shared) {
      candidates += may_be_shared(word) ? 1 : 0;
      mappings += next != kNone ? 1 : 0;
      next = kNone;
      continue;
    }
    // Somebody is about to change it, and may have given up its frame already: told again with the next look.
    if (word.locked()) member->told_changes = ~std::uint64_t{0};
    mappings += page > 0 && word.frame() != next ? 1 : 0;
    next = word.frame() + 1;
    // The word may be on its way: then the frame has other references by now, or none.
    common += 1.0 / std::max(stores_.references(word.frame()), 1U);
    // Of another home's frames there are few, and for a while.
    const bool is_own = &stores_.of(word.frame()) == &store_;
    frames += !is_own || seen_.insert(FrameStores::frame_of(word.frame())) ? 1 : 0;
  }
  seen_.clear();
  auto& counts = guest.counters.share;
  counts.common.store(common, std::memory_order_relaxed);
  counts.frames.store(frames, std::memory_order_relaxed);
  counts.candidates.store(candidates, std::memory_order_relaxed);
  if (guest.frames) GuestFrames::of(guest).count_mappings(mappings);
}

}  // namespace vmm::sharing
