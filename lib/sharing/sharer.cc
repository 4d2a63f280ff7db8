#include "sharing/sharer.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bitset>
#include <cstring>
#include <utility>

#include "os/affinity.h"
#include "os/pagemap.h"
#include "region/isolator.h"
#include "sharing/guest_frames.h"
#include "sharing/racy_bytes.h"

namespace vmm::sharing {

using region::bump;
using region::GuestMemory;
using region::PageState;
using region::PageWord;

namespace {

// Looked at with one look at the page map.
constexpr std::uint64_t kChunk = 64;

bool may_be_shared(PageWord w) noexcept {
  return w.state() == PageState::resident && !w.pinned() && !w.writing() && !w.watched();
}
// Its frames are not taken out under a pin: what a device writes meanwhile nobody could hold off.
bool may_be_hidden(PageWord w) noexcept { return w.state() == PageState::shared && !w.pinned(); }

bool is_zero(const std::byte* page) noexcept {
  const auto* const words = reinterpret_cast<const std::uint64_t*>(page);
  return std::all_of(words, words + kPageWords, [](auto word) { return word == 0; });
}

bool is_broken(std::uint8_t bits) noexcept { return (bits & (os::kPresent | os::kFile)) == os::kPresent; }

// This thread reads pages of the guest whose words it has locked: should the application have dropped one, they are
// supplied without a look at the word.
class Reading {
 public:
  explicit Reading(GuestMemory& guest) noexcept : guest_(guest) {
    guest.copier.store(os::current_tid(), std::memory_order_release);
  }
  ~Reading() { guest_.copier.store(0, std::memory_order_release); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  GuestMemory& guest_;
};

}  // namespace

struct Sharer::Member {
  Member(GuestMemory& g, std::string_view salt_text, std::uint32_t number, const ProcessSecret& secret)
      : guest(g), salt(salt_text), salt_number(number), keys(secret, salt_text) {}

  GuestMemory& guest;
  const std::string salt;
  const std::uint32_t salt_number;
  const PageKeys keys;
  std::uint64_t base = 0;  // number of its first page over all guests
  std::uint64_t next = 0;         // page
  std::uint64_t next_broken = 0;  // page: of find_broken()
};

// Pages of one guest that are locked, [first, first + count): taken out of it, and shared, or given back.
struct Sharer::Side {
  Side(GuestMemory& g, std::uint64_t page) noexcept : guest(g), first(page) {}
  ~Side() { give_back(0); }
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  PageWord* words() noexcept { return all.data() + begin; }
  std::byte* at(std::uint64_t i) const noexcept { return guest.at(first + i); }
  std::byte* staged(std::uint64_t i) const noexcept { return guest.staged(first + i); }

  template <class May>
  bool lock(std::uint64_t page, May&& may, PageWord& word) noexcept {
    if (const auto glimpse = guest.table.load(page); glimpse.locked() || !may(glimpse)) return false;
    const auto locked = guest.table.try_lock(page);
    if (!locked) return false;
    if (may(*locked)) {
      word = *locked;
      return true;
    }
    guest.table.unlock(page, *locked);
    guest.table.released();
    return false;
  }
  // One page more, after the last or before the first.
  template <class May>
  bool lock_next(May&& may) noexcept {
    if (count == kMostShared || first + count == guest.pages()) return false;
    if (!lock(first + count, may, words()[count])) return false;
    ++count;
    return true;
  }
  template <class May>
  bool lock_before(May&& may) noexcept {
    if (count == kMostShared || first == 0 || begin == 0) return false;
    if (!lock(first - 1, may, all[begin - 1])) return false;
    --begin;
    --first;
    ++count;
    return true;
  }
  void unlock_last() noexcept {
    --count;
    guest.table.unlock(first + count, words()[count]);
    guest.table.released();
  }
  void unlock_first() noexcept {
    guest.table.unlock(first, words()[0]);
    guest.table.released();
    ++begin;
    ++first;
    --count;
  }

  // Into staging; what comes after the first page that the kernel keeps is given back.
  void isolate() noexcept {
    region::TakenSet taken;
    if (count == 0) return;
    static_cast<void>(guest.isolator().take(guest, first, count, taken));
    bump(guest.counters.staging, taken.count());
    std::uint64_t leading = count;
    for (auto i = count; i-- > 0;) {
      if (!taken[i]) {
        leading = i;
        continue;
      }
      auto& word = words()[i];
      // Nobody could tell any more whether it has been written since.
      if (word.has_slot()) guest.backing->free_slot(word.slot());
      word = word.without_slot().with_state(PageState::isolated);
      guest.table.change(first + i, word);
    }
    give_back(leading);
  }

  // Pages [from, count) are unlocked, in their places if they were taken out of them.
  void give_back(std::uint64_t from) noexcept {
    for (auto i = from; i < count;) {
      if (words()[i].state() != PageState::isolated) {
        ++i;
        continue;
      }
      auto end = i;
      while (end < count && words()[end].state() == PageState::isolated) ++end;
      int error = 0;
      const auto given = guest.isolator().give(guest, first + i, end - i, error);
      region::drop(guest.counters.staging, given);
      for (const auto until = i + given; i < until; ++i) words()[i] = words()[i].with_state(PageState::resident);
      if (i == end) continue;
      // It is rescued from staging when it is touched, or found there by the worker.
      if (guest.backing) guest.backing->left_in_staging();
      ++i;
    }
    for (auto i = from; i < count; ++i) guest.table.unlock(first + i, words()[i]);
    if (from < count) guest.table.released();
    count = from;
  }

  GuestMemory& guest;
  std::uint64_t first, count = 0;
  std::size_t begin = kMostShared;  // of the words in use
  std::array<PageWord, 2 * kMostShared> all;
};

Result<std::unique_ptr<Sharer>> Sharer::create(const ProcessSecret& secret, const FrameStores& stores,
                                               FrameStore& store, const SharerOptions& options) {
  auto table = ShareTable::create(options.table_entries);
  if (!table) return tl::unexpected(table.error());
  auto salts = os::Mapping::anonymous(store.capacity() * sizeof(std::uint32_t));
  if (!salts) return tl::unexpected(salts.error());
  return std::unique_ptr<Sharer>(
      new Sharer(secret, stores, store, options.key_mask, std::move(*table), std::move(*salts)));
}

Sharer::Sharer(const ProcessSecret& secret, const FrameStores& stores, FrameStore& store, std::uint64_t key_mask,
               ShareTable table, os::Mapping salts) noexcept
    : secret_(secret),
      stores_(stores),
      store_(store),
      key_mask_(key_mask),
      table_(std::move(table)),
      salts_(std::move(salts)) {}

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

void Sharer::remove(const GuestMemory& guest) noexcept {
  std::erase_if(members_, [&](const auto& m) { return &m->guest == &guest; });
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
  if (auto* const member = find(guest)) member->next = 0;
}

bool Sharer::step(GuestMemory& guest, std::uint64_t most, bool break_huge) {
  auto* const member = find(guest);
  if (member == nullptr || !guest.adopted()) return true;
  std::array<std::uint8_t, kChunk> bits;
  while (most > 0 && member->next < guest.pages()) {
    const auto first = member->next, count = std::min({kChunk, most, guest.pages() - first});
    member->next += count;
    most -= count;
    if (guest.pagemap().bits(guest.at(first), count, bits.data()) != 0) continue;
    take_back(guest, first, bits.data(), count);
    std::bitset<kChunk> zeros;
    for (std::uint64_t i = 0; i < count; ++i)
      zeros[i] = look_at(*member, first + i, bits[i], break_huge) == Look::zeros;
    guest.table.released();
    for (std::uint64_t i = 0; i < count; ++i) {
      auto end = i;
      while (end < count && zeros[end]) ++end;
      if (end > i) drop_zeros(*member, first + i, end - i);
      i = end;
    }
  }
  if (member->next < guest.pages()) return false;
  member->next = 0;
  return true;
}

Sharer::Look Sharer::look_at(Member& member, std::uint64_t page, std::uint8_t bits, bool break_huge) noexcept {
  auto& counts = member.guest.counters.share;
  const auto word = member.guest.table.load(page);
  if (word.pinned()) bump(counts.pinned);
  if (!may_be_shared(word) || word.locked()) return Look::done;
  if ((bits & os::kPresent) == 0 || (bits & (os::kFile | os::kZero)) != 0) return Look::done;
  alignas(64) std::array<std::byte, kPageSize> bytes;
  if (!read(member, page, bytes.data())) return Look::done;
  bump(counts.looked);
  const bool whole = (bits & os::kHuge) != 0 && !break_huge;
  if (is_zero(bytes.data())) {
    bump(counts.huge, whole ? 1 : 0);
    return whole ? Look::done : Look::zeros;
  }
  const auto key = member.keys.key_of(bytes.data()) & key_mask_;
  const auto number = member.base + page;
  auto entry = table_.offer(key, number);
  if (entry && whole) bump(counts.huge);
  if (!entry || whole) return Look::done;
  if (entry->shared) {
    if (join(member, page, entry->number)) return Look::done;
    // Of no use, or of none to this guest: it may be the frame of another salt, whose key is equal by chance.
    table_.erase(key, *entry);
    entry = table_.offer(key, number);
    if (!entry || entry->shared) return Look::done;
  }
  auto* const other = owner_of(entry->number);
  if (other != nullptr && other->salt_number == member.salt_number && entry->number != number &&
      merge(member, page, *other, entry->number - other->base))
    return Look::done;
  table_.replace(key, *entry, {false, number});
  return Look::done;
}

// A copy of the page as it was while its word was locked, which keeps it where it is, and nobody from writing.
bool Sharer::read(Member& member, std::uint64_t page, std::byte* copy) noexcept {
  auto& table = member.guest.table;
  const auto word = table.try_lock(page);
  if (!word) return false;
  const bool may = may_be_shared(*word);
  if (may) {
    const Reading reading(member.guest);
    copy_racy(copy, member.guest.at(page), 1);
  }
  table.unlock(page, *word);
  return may;
}

void Sharer::drop_zeros(Member& member, std::uint64_t first, std::uint64_t count) noexcept {
  auto& guest = member.guest;
  for (auto page = first; page < first + count;) {
    Side side(guest, page);
    while (page + side.count < first + count && side.lock_next(may_be_shared)) {
    }
    page += std::max<std::uint64_t>(side.count, 1);
    side.isolate();
    std::uint64_t zeros = 0;
    while (zeros < side.count && is_zero(side.staged(zeros))) ++zeros;
    side.give_back(zeros);
    if (zeros == 0 || os::drop_pages(side.staged(0), zeros * kPageSize) != 0) continue;
    region::drop(guest.counters.staging, zeros);
    guest.uncharge(zeros);
    bump(member.guest.counters.share.zero, zeros);
    for (std::uint64_t i = 0; i < zeros; ++i) side.words()[i] = side.words()[i].with_state(PageState::empty);
  }
}

// Pages that show a frame no more are the guest's own, and pages like others again; so are, after the guest has got another
// home, those whose frames are of the former.
void Sharer::take_back(GuestMemory& guest, std::uint64_t first, const std::uint8_t* bits, std::uint64_t count) noexcept {
  const auto is_due = [&](std::uint64_t i) {
    const auto word = guest.table.load(first + i);
    return may_be_hidden(word) && (is_broken(bits[i]) || &stores_.of(word.frame()) != &store_);
  };
  auto& counts = guest.counters.share;
  for (std::uint64_t i = 0; i < count; ++i) {
    Side side(guest, first + i);
    while (i + side.count < count && is_due(i + side.count) && side.lock_next(may_be_hidden)) {
    }
    if (side.count == 0) continue;
    i += side.count - 1;
    const int error = GuestFrames::of(guest).hide(side.first, side.count, side.words());
    bump(error == 0 ? counts.broken : counts.refused, side.count);
  }
}

bool Sharer::find_broken(GuestMemory& guest, std::uint64_t most) noexcept {
  auto* const member = find(guest);
  if (member == nullptr || !guest.adopted() || guest.counters.shared == 0) return true;
  std::array<std::uint8_t, region::kMostTaken> bits;
  for (auto& page = member->next_broken; most > 0 && page < guest.pages();) {
    auto end = page;
    const auto last = std::min({guest.pages(), page + most, page + bits.size()});
    const auto is_shared = [&] { return guest.table.load(end).state() == PageState::shared; };
    while (end < last && is_shared()) ++end;
    if (end > page && guest.pagemap().bits(guest.at(page), end - page, bits.data()) == 0)
      take_back(guest, page, bits.data(), end - page);
    while (end < last && !is_shared()) ++end;
    most -= end - page;
    page = end;
  }
  if (member->next_broken < guest.pages()) return false;
  member->next_broken = 0;
  return true;
}

void Sharer::tell_common(GuestMemory& guest) const noexcept {
  double common = 0;
  auto left = guest.counters.shared.load();
  for (std::uint64_t page = 0; left > 0 && page < guest.pages(); ++page) {
    const auto word = guest.table.load(page);
    if (word.state() != PageState::shared) continue;
    --left;
    // The word may be on its way: then the frame has other references by now, or none.
    const auto references = stores_.of(word.frame()).references(FrameStores::frame_of(word.frame()));
    common += 1.0 / std::max(references, 1U);
  }
  guest.counters.share.common.store(common, std::memory_order_relaxed);
}

// Both pages are equal, as it seems. Those of neither side overlap.
bool Sharer::merge(Member& member, std::uint64_t page, Member& other, std::uint64_t other_page) noexcept {
  auto most = kMostShared;
  if (&member == &other) most = std::min(most, page > other_page ? page - other_page : other_page - page);
  Side a(member.guest, page), b(other.guest, other_page);
  {
    const Reading first(a.guest), second(b.guest);
    while (a.count < most && a.lock_next(may_be_shared)) {
      if (!b.lock_next(may_be_shared)) {
        a.unlock_last();
        break;
      }
      if (equal_racy(a.at(a.count - 1), b.at(b.count - 1))) continue;
      a.unlock_last();
      b.unlock_last();
      break;
    }
    while (a.count > 0 && a.count < most && a.lock_before(may_be_shared)) {
      if (!b.lock_before(may_be_shared)) {
        a.unlock_first();
        break;
      }
      if (equal_racy(a.at(0), b.at(0))) continue;
      a.unlock_first();
      b.unlock_first();
      break;
    }
  }
  if (a.count == 0) {
    bump(member.guest.counters.share.changing);
    return false;
  }
  const auto wanted = a.count;
  a.isolate();
  b.give_back(a.count);
  b.isolate();
  a.give_back(b.count);
  bump(member.guest.counters.share.refused, wanted - a.count);
  std::uint64_t equal = 0;
  while (equal < a.count && equal_racy(a.staged(equal), b.staged(equal))) ++equal;
  bump(member.guest.counters.share.changing, a.count - equal);
  a.give_back(equal);
  b.give_back(equal);
  if (equal == 0) return false;
  // In line with what comes before it: one mapping can show both then.
  std::optional<std::uint64_t> next;
  if (a.first > 0)
    if (const auto before = a.guest.table.load(a.first - 1);
        before.state() == PageState::shared && &stores_.of(before.frame()) == &store_)
      next = FrameStores::frame_of(before.frame()) + 1;
  const auto run = store_.allocate(equal, next);
  if (!run) {
    bump(member.guest.counters.share.refused, equal);
    return false;
  }
  a.give_back(run->count);
  b.give_back(run->count);
  copy_racy(store_.bytes(run->first), a.staged(0), run->count);
  for (std::uint64_t i = 0; i < run->count; ++i) salt_of(run->first + i) = member.salt_number;
  store_.hold(*run);
  bool shown = false;
  for (auto* side : {&a, &b}) {
    auto& counts = side->guest.counters.share;
    if (GuestFrames::of(side->guest).show(side->first, store_, *run, side->words()) == 0) {
      bump(counts.shared, run->count);
      shown = true;
    } else {
      bump(counts.refused, run->count);
      store_.release(*run);
    }
  }
  if (shown) note_frames(member, *run);
  return shown;
}

// The page is equal to the frame, as it seems.
bool Sharer::join(Member& member, std::uint64_t page, std::uint64_t frame) noexcept {
  const auto hold = [&](std::uint64_t f) {
    if (f >= store_.capacity() || !store_.try_hold(f)) return false;
    if (salt_of(f) == member.salt_number) return true;
    store_.release({f, 1});
    return false;
  };
  Side side(member.guest, page);
  FrameRun run{frame, 0};
  {
    const Reading reading(side.guest);
    while (side.lock_next(may_be_shared)) {
      const auto f = run.first + run.count;
      if (hold(f)) {
        if (equal_racy(side.at(side.count - 1), store_.bytes(f))) {
          ++run.count;
          continue;
        }
        store_.release({f, 1});
      }
      side.unlock_last();
      break;
    }
    while (run.count > 0 && run.first > 0 && side.lock_before(may_be_shared)) {
      const auto f = run.first - 1;
      if (hold(f)) {
        if (equal_racy(side.at(0), store_.bytes(f))) {
          --run.first;
          ++run.count;
          continue;
        }
        store_.release({f, 1});
      }
      side.unlock_first();
      break;
    }
  }
  if (run.count == 0) return false;
  const auto wanted = run.count;
  const auto keep = [&](std::uint64_t count) {
    store_.release({run.first + count, run.count - count});
    run.count = count;
    side.give_back(count);
  };
  side.isolate();
  keep(side.count);
  bump(member.guest.counters.share.refused, wanted - run.count);
  std::uint64_t equal = 0;
  while (equal < run.count && equal_racy(side.staged(equal), store_.bytes(run.first + equal))) ++equal;
  bump(member.guest.counters.share.changing, run.count - equal);
  keep(equal);
  if (run.count == 0) return false;
  if (GuestFrames::of(side.guest).show(side.first, store_, run, side.words()) != 0) {
    bump(member.guest.counters.share.refused, run.count);
    keep(0);
    return false;
  }
  bump(member.guest.counters.share.shared, run.count);
  return true;
}

// Who has such a page next finds them.
void Sharer::note_frames(Member& member, FrameRun run) noexcept {
  for (auto f = run.first; f < run.first + run.count; ++f) {
    const auto key = member.keys.key_of(store_.bytes(f)) & key_mask_;
    const auto known = table_.find(key);
    if (!known) table_.add_shared(key, f);
    else if (!known->shared) table_.replace(key, *known, {true, f});
  }
}

}  // namespace vmm::sharing
