#include "sharing/sharer.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bitset>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/zero_page.h"
#include "os/affinity.h"
#include "os/pagemap.h"
#include "region/isolator.h"
#include "sharing/guest_frames.h"
#include "sharing/locked_pages.h"
#include "sharing/racy_bytes.h"

namespace vmm::sharing {

using region::bump;
using region::GuestMemory;
using region::PageState;
using region::PageWord;

namespace {

// Looked at with one look at the page map.
constexpr std::uint64_t kChunk = region::kMostTaken;
// Buckets of the table that are looked at for frames that nobody has any more, for each chunk.
constexpr std::uint64_t kSwept = 64;
// Whoever waits for a page that was looked at is told after so many.
constexpr std::uint64_t kFewPages = 64;

bool may_be_shared(PageWord w) noexcept {
  return w.state() == PageState::resident && !w.pinned() && !w.writing() && !w.watched();
}
// Its frames are not taken out under a pin: what a device writes meanwhile nobody could hold off.
bool may_be_hidden(PageWord w) noexcept { return w.state() == PageState::shared && !w.pinned(); }

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

// When a step has taken long enough: others wait for the worker.
class Sharer::Deadline {
 public:
  explicit Deadline(base::Nanos most) noexcept : end_(now() + most) {}
  bool passed() const noexcept { return now() > end_; }

 private:
  static base::Nanos now() noexcept { return std::chrono::steady_clock::now().time_since_epoch(); }
  base::Nanos end_;
};

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

Result<std::unique_ptr<Sharer>> Sharer::create(const ProcessSecret& secret, const FrameStores& stores,
                                               FrameStore& store, const SharerOptions& options) {
  auto table = ShareTable::create(options.table_entries);
  if (!table) return tl::unexpected(table.error());
  auto salts = os::Mapping::anonymous(store.capacity() * sizeof(std::uint32_t));
  if (!salts) return tl::unexpected(salts.error());
  return std::unique_ptr<Sharer>(
      new Sharer(secret, stores, store, options, std::move(*table), std::move(*salts)));
}

Sharer::Sharer(const ProcessSecret& secret, const FrameStores& stores, FrameStore& store, const SharerOptions& options,
               ShareTable table, os::Mapping salts) noexcept
    : secret_(secret),
      stores_(stores),
      store_(store),
      key_mask_(options.key_mask),
      most_time_(options.most_time),
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
  const Deadline deadline(most_time_);
  do {
    const auto count = std::min({kChunk, most, guest.pages() - member->next});
    const auto looked = look_at_chunk(*member, member->next, count, break_huge, deadline);
    member->next += looked;
    most -= looked;
  } while (most > 0 && member->next < guest.pages() && !deadline.passed());
  if (member->next < guest.pages()) return false;
  member->next = 0;
  return true;
}

// Returns how many of the pages it has come to: all, or as many as time permits.
std::uint64_t Sharer::look_at_chunk(Member& member, std::uint64_t first, std::uint64_t count, bool break_huge,
                                    const Deadline& deadline) noexcept {
  auto& guest = member.guest;
  // Else what once was shared would fill the table, and nothing more could be noted.
  table_.sweep(sweep_hand_, kSwept, [&](std::uint64_t frame) { return store_.references(frame) == 0; });
  std::array<std::uint8_t, kChunk> bits;
  const auto look = [&] { return guest.pagemap().bits(guest.at(first), count, bits.data()) == 0; };
  if (!look()) return count;
  // Then they are pages like others.
  if (take_back(guest, first, bits.data(), count, deadline) > 0 && !look()) return count;
  std::bitset<kChunk> zeros;
  std::uint64_t looked = 0;
  do {
    zeros[looked] = look_at(member, first + looked, bits[looked], break_huge) == Look::zeros;
    if (++looked % kFewPages == 0) guest.table.released();
  } while (looked < count && !deadline.passed());
  guest.table.released();
  for (std::uint64_t i = 0; i < looked; ++i) {
    auto end = i;
    while (end < looked && zeros[end]) ++end;
    if (end > i) drop_zeros(member, first + i, end - i);
    i = end;
  }
  return looked;
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
  if (base::is_zero_page(bytes.data())) {
    bump(counts.huge, whole ? 1 : 0);
    return whole ? Look::done : Look::zeros;
  }
  const auto key = member.keys.key_of(bytes.data()) & key_mask_;
  const auto number = member.base + page;
  auto entry = table_.offer(key, number);
  if (entry && whole) bump(counts.huge);
  if (!entry || whole) return Look::done;
  if (entry->shared) {
    if (join(member, page, entry->number, break_huge) != Joined::never) return Look::done;
    // Nobody has that frame any more, or it holds something else: of another salt perhaps, whose key is equal by
    // chance.
    table_.erase(key, *entry);
    entry = table_.offer(key, number);
    if (!entry || entry->shared) return Look::done;
  }
  auto* const other = owner_of(entry->number);
  if (other != nullptr && other->salt_number == member.salt_number && entry->number != number &&
      merge(member, page, *other, entry->number - other->base, break_huge))
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
    LockedPages side(guest, page);
    while (page + side.count < first + count && side.lock_end(true, may_be_shared)) {
    }
    page += std::max<std::uint64_t>(side.count, 1);
    side.isolate();
    std::uint64_t zeros = 0;
    while (zeros < side.count && base::is_zero_page(side.staged(zeros))) ++zeros;
    side.give_back(zeros);
    if (zeros == 0 || os::drop_pages(side.staged(0), zeros * kPageSize) != 0) continue;
    region::drop(guest.counters.staging, zeros);
    guest.uncharge(zeros);
    bump(member.guest.counters.share.zero, zeros);
    for (std::uint64_t i = 0; i < zeros; ++i) side.words()[i] = side.words()[i].with_state(PageState::empty);
  }
}

// Pages that show a frame no more are the guest's own from now on, and charged. They become pages like others, and so
// do those whose frames nobody else has, which as frames could not be swapped, and, while there is memory for that,
// those of another home that the guest had; as many as time permits. Returns how many.
std::uint64_t Sharer::take_back(GuestMemory& guest, std::uint64_t first, const std::uint8_t* bits,
                                std::uint64_t count, const Deadline& deadline) noexcept {
  mark_broken(guest, first, bits, count);
  const bool roomy = guest.credit().free() > guest.credit().marks().low.load(std::memory_order_relaxed) + count;
  const auto is_one = [&](std::uint64_t i) {
    const auto word = guest.table.load(first + i);
    if (!may_be_hidden(word)) return false;
    const auto& store = stores_.of(word.frame());
    return word.broken() || stores_.references(word.frame()) == 1 ||
           (&store != &store_ && roomy);
  };
  // A page taken out of the midst of a run costs two mappings more; all of the run, none.
  bool all = false;
  if (!GuestFrames::of(guest).mappings().permits(1))
    for (std::uint64_t i = 0; i < count && !all; ++i) all = is_one(i);
  const auto is_due = [&](std::uint64_t i) {
    return all ? may_be_hidden(guest.table.load(first + i)) : is_one(i);
  };
  std::uint64_t taken = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!is_due(i)) continue;
    if (deadline.passed()) break;
    LockedPages side(guest, first + i);
    while (i + side.count < count && is_due(i + side.count) && side.lock_end(true, may_be_hidden)) {
    }
    if (side.count == 0) continue;
    i += side.count - 1;
    const int error = GuestFrames::of(guest).hide(side.first, side.count, side.words());
    if (error != 0) bump(guest.counters.share.refused, side.count);
    taken += error == 0 ? side.count : 0;
  }
  return taken;
}

void Sharer::mark_broken(GuestMemory& guest, std::uint64_t first, const std::uint8_t* bits,
                         std::uint64_t count) noexcept {
  const auto is_new = [](PageWord word) { return may_be_hidden(word) && !word.broken(); };
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!is_broken(bits[i])) continue;
    LockedPages side(guest, first + i);
    while (i + side.count < count && is_broken(bits[i + side.count]) && side.lock_end(true, is_new)) {
    }
    if (side.count == 0) continue;
    i += side.count - 1;
    GuestFrames::of(guest).mark_broken(side.count, side.words());
    bump(guest.counters.share.broken, side.count);
  }
}

std::uint64_t Sharer::give_up(GuestMemory& guest, std::uint64_t most) noexcept {
  std::uint64_t given = 0;
  if (guest.counters.shared == 0 || find(guest) == nullptr) return 0;
  // Those that are the guest's own first: they bring memory.
  for (const bool broken : {true, false}) {
    const auto may = [&](PageWord word) { return may_be_hidden(word) && (word.broken() || !broken); };
    for (std::uint64_t page = 0; page < guest.pages() && given < most;) {
      LockedPages side(guest, page);
      while (given + side.count < most && side.lock_end(true, may)) {
      }
      page += std::max<std::uint64_t>(side.count, 1);
      if (side.count == 0 || GuestFrames::of(guest).hide(side.first, side.count, side.words()) != 0) continue;
      given += side.count;
    }
  }
  return given;
}

bool Sharer::find_broken(GuestMemory& guest, std::uint64_t most) noexcept {
  auto* const member = find(guest);
  if (member == nullptr || !guest.adopted() || guest.counters.shared == 0) return true;
  const Deadline deadline(most_time_);
  std::array<std::uint8_t, region::kMostTaken> bits;
  for (auto& page = member->next_broken; most > 0 && page < guest.pages();) {
    auto end = page;
    const auto last = std::min({guest.pages(), page + most, page + bits.size()});
    const auto is_shared = [&] { return guest.table.load(end).state() == PageState::shared; };
    while (end < last && is_shared()) ++end;
    if (end > page && guest.pagemap().bits(guest.at(page), end - page, bits.data()) == 0)
      static_cast<void>(take_back(guest, page, bits.data(), end - page, deadline));
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
  std::uint64_t runs = 0, next = 0;  // the frame that would go on with the run
  auto left = guest.counters.shared.load();
  for (std::uint64_t page = 0; left > 0 && page < guest.pages(); ++page) {
    const auto word = guest.table.load(page);
    if (word.state() != PageState::shared) {
      next = 0;
      continue;
    }
    --left;
    runs += word.frame() != next || next == 0 ? 1 : 0;
    next = word.frame() + 1;
    // The word may be on its way: then the frame has other references by now, or none.
    common += 1.0 / std::max(stores_.references(word.frame()), 1U);
  }
  guest.counters.share.common.store(common, std::memory_order_relaxed);
  if (guest.frames) GuestFrames::of(guest).count_mappings(runs * MappingBudget::kOfARun);
}

// Both pages are equal, as it seems. Those of neither side overlap.
bool Sharer::merge(Member& member, std::uint64_t page, Member& other, std::uint64_t other_page,
                   bool break_huge) noexcept {
  auto most = LockedPages::kMost;
  if (&member == &other) most = std::min(most, page > other_page ? page - other_page : other_page - page);
  LockedPages a(member.guest, page, !break_huge), b(other.guest, other_page, !break_huge);
  {
    const Reading first(a.guest), second(b.guest);
    for (const bool onwards : {true, false})
      a.extend(onwards, most, may_be_shared, [&](std::uint64_t i) {
        if (!b.lock_end(onwards, may_be_shared)) return false;
        if (equal_racy(a.at(i), b.at(i))) return true;
        b.unlock_end(onwards);
        return false;
      });
  }
  if (a.count == 0) {
    bump(member.guest.counters.share.changing);
    return false;
  }
  const auto wanted = a.count;
  if (!GuestFrames::of(a.guest).mappings().permits(wanted)) {
    bump(member.guest.counters.share.refused, wanted);
    return false;
  }
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
  // All at once: touched one by one each would cost a fault, and where there is no memory for one, a SIGBUS.
  if (os::populate_for_write(store_.bytes(run->first), run->count * kPageSize) != 0) {
    bump(member.guest.counters.share.refused, run->count);
    store_.release(*run);
    return false;
  }
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
Sharer::Joined Sharer::join(Member& member, std::uint64_t page, std::uint64_t frame, bool break_huge) noexcept {
  const auto hold = [&](std::uint64_t f) {
    if (f >= store_.capacity() || !store_.try_hold(f)) return false;
    if (salt_of(f) == member.salt_number) return true;
    store_.release({f, 1});
    return false;
  };
  LockedPages side(member.guest, page, !break_huge);
  FrameRun run{frame, 0};
  auto failed = Joined::not_now;
  {
    const Reading reading(side.guest);
    for (const bool onwards : {true, false})
      side.extend(onwards, LockedPages::kMost, may_be_shared, [&](std::uint64_t i) {
        if (!onwards && run.first == 0) return false;
        const auto f = onwards ? run.first + run.count : run.first - 1;
        const bool held = hold(f), equal = held && equal_racy(side.at(i), store_.bytes(f));
        if (equal) {
          run = {std::min(run.first, f), run.count + 1};
          return true;
        }
        if (held) store_.release({f, 1});
        if (run.count == 0) failed = Joined::never;
        return false;
      });
  }
  if (run.count == 0) return failed;
  const auto wanted = run.count;
  const auto keep = [&](std::uint64_t count) {
    store_.release({run.first + count, run.count - count});
    run.count = count;
    side.give_back(count);
  };
  if (!GuestFrames::of(side.guest).mappings().permits(wanted)) {
    bump(member.guest.counters.share.refused, wanted);
    keep(0);
    return Joined::not_now;
  }
  side.isolate();
  keep(side.count);
  bump(member.guest.counters.share.refused, wanted - run.count);
  std::uint64_t equal = 0;
  while (equal < run.count && equal_racy(side.staged(equal), store_.bytes(run.first + equal))) ++equal;
  bump(member.guest.counters.share.changing, run.count - equal);
  keep(equal);
  if (run.count == 0) return Joined::not_now;
  if (GuestFrames::of(side.guest).show(side.first, store_, run, side.words()) != 0) {
    bump(member.guest.counters.share.refused, run.count);
    keep(0);
    return Joined::not_now;
  }
  bump(member.guest.counters.share.shared, run.count);
  return Joined::yes;
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
