#include "reclaim/slot_map.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "vmm/units.h"

namespace vmm::reclaim {
namespace {

constexpr std::uint64_t kBits = 64;
constexpr std::uint64_t kAll = ~std::uint64_t{0};
// Bound of a search: free runs looked at before the longest of them is taken.
constexpr int kRunsLookedAt = 64;

// Bits [first, end) of a word; first < end <= 64.
constexpr std::uint64_t bits(std::uint64_t first, std::uint64_t end) noexcept {
  return (kAll << first) & (kAll >> (kBits - end));
}
static_assert(bits(0, 64) == kAll && bits(1, 3) == 6 && bits(63, 64) == std::uint64_t{1} << 63);

constexpr std::uint64_t lowest(std::uint64_t word) noexcept {
  return static_cast<std::uint64_t>(std::countr_zero(word));
}

constexpr std::uint64_t words_for(std::uint64_t count) noexcept { return (count + kBits - 1) / kBits; }

}  // namespace

Result<SlotMap> SlotMap::create(std::uint64_t slots, std::uint64_t capacity) {
  capacity = std::max(slots, capacity);
  const std::uint64_t words = capacity + words_for(capacity) + words_for(words_for(capacity));
  if (words == 0) return SlotMap(os::Mapping(), 0, 0);
  auto mapping = os::Mapping::anonymous(words * sizeof(std::uint64_t));
  if (!mapping) return tl::unexpected<Error>(std::move(mapping.error()));
  return SlotMap(std::move(*mapping), slots, capacity);
}

SlotMap::SlotMap(os::Mapping mapping, std::uint64_t slots, std::uint64_t capacity) noexcept
    : slots_(slots),
      capacity_(capacity),
      mapping_(std::move(mapping)),
      checksums_(reinterpret_cast<std::uint64_t*>(mapping_.data())),
      used_(checksums_ + capacity),
      full_(used_ + words_for(capacity)) {
  // What lies past the end is used for ever, or until it grows, so no search finds it.
  if (capacity % kBits != 0) used_[capacity / kBits] = bits(capacity % kBits, kBits);
  if (words() % kBits != 0) full_[words() / kBits] = bits(words() % kBits, kBits);
  mark_locked(slots, capacity - slots, true);
}

SlotMap::SlotMap(SlotMap&& other) noexcept VMM_NO_THREAD_SAFETY_ANALYSIS
    : slots_(other.slots_.exchange(0)),
      capacity_(std::exchange(other.capacity_, 0)),
      mapping_(std::move(other.mapping_)),
      checksums_(std::exchange(other.checksums_, nullptr)),
      used_(std::exchange(other.used_, nullptr)),
      full_(std::exchange(other.full_, nullptr)),
      in_use_(other.in_use_.exchange(0)),
      cursor_(std::exchange(other.cursor_, 0)) {}

void SlotMap::grow(std::uint64_t slots) {
  base::MutexLock lock(mutex_);
  const auto had = this->slots();
  VMM_CHECK(slots <= capacity_);
  if (slots <= had) return;
  mark_locked(had, slots - had, false);
  slots_.store(slots, std::memory_order_release);
}

SlotRun SlotMap::allocate(std::uint64_t preferred, std::uint32_t want) {
  if (want == 0) return {};
  base::MutexLock lock(mutex_);
  const auto all = slots();
  if (in_use() == all) return {};
  const SlotRun run =
      preferred < all && !used_locked(preferred) ? run_at_locked(preferred, want) : search_locked(want);
  mark_locked(run.first, run.count, true);
  cursor_ = run.first + run.count;
  in_use_.fetch_add(run.count, std::memory_order_relaxed);
  return run;
}

void SlotMap::free(std::uint64_t first, std::uint64_t count) {
  if (count == 0) return;
  VMM_CHECK(count <= slots() && first <= slots() - count);
  base::MutexLock lock(mutex_);
  mark_locked(first, count, false);
  in_use_.fetch_sub(count, std::memory_order_relaxed);
}

void SlotMap::set_checksum(std::uint64_t slot, std::uint64_t sum) noexcept {
  VMM_CHECK(slot < slots());
  std::atomic_ref(checksums_[slot]).store(sum, std::memory_order_release);
}

std::uint64_t SlotMap::checksum(std::uint64_t slot) const noexcept {
  VMM_CHECK(slot < slots());
  return std::atomic_ref(checksums_[slot]).load(std::memory_order_acquire);
}

bool SlotMap::used_locked(std::uint64_t slot) const noexcept { return (used_[slot / kBits] >> slot % kBits & 1) != 0; }

std::uint64_t SlotMap::next_free_locked(std::uint64_t from) const noexcept {
  if (from >= capacity_) return capacity_;
  std::uint64_t word = from / kBits;
  if (const auto found = ~used_[word] & (kAll << from % kBits); found != 0) return word * kBits + lowest(found);
  ++word;
  for (std::uint64_t group = word / kBits; group < words_for(words()); ++group) {
    auto found = ~full_[group];
    if (group == word / kBits) found &= kAll << word % kBits;
    if (found == 0) continue;
    const std::uint64_t hit = group * kBits + lowest(found);
    return hit * kBits + lowest(~used_[hit]);
  }
  return capacity_;
}

SlotRun SlotMap::run_at_locked(std::uint64_t first, std::uint32_t want) const noexcept {
  const std::uint64_t limit = std::min(capacity_, first + want);
  std::uint64_t end = first;
  while (end < limit) {
    const auto taken = used_[end / kBits] >> end % kBits;
    if (taken != 0) {
      end += lowest(taken);
      break;
    }
    end = (end / kBits + 1) * kBits;
  }
  return {first, static_cast<std::uint32_t>(std::min(end, limit) - first)};
}

SlotRun SlotMap::search_locked(std::uint32_t want) const noexcept {
  SlotRun longest;
  bool from_start = false;
  std::uint64_t first = next_free_locked(cursor_);
  for (int looked = 0; looked < kRunsLookedAt; ++looked) {
    if (first == capacity_ && !from_start) {
      from_start = true;
      first = next_free_locked(0);
    }
    if (first == capacity_ || (from_start && first >= cursor_)) break;
    const SlotRun run = run_at_locked(first, want);
    if (run.count > longest.count) longest = run;
    if (longest.count == want) break;
    first = next_free_locked(run.first + run.count);
  }
  return longest;
}

void SlotMap::mark_locked(std::uint64_t first, std::uint64_t count, bool used) noexcept {
  for (std::uint64_t slot = first, end = first + count; slot < end;) {
    const std::uint64_t word = slot / kBits;
    const std::uint64_t mask = bits(slot % kBits, std::min(kBits, end - word * kBits));
    VMM_CHECK_EQ(used_[word] & mask, used ? 0 : mask);
    used_[word] ^= mask;
    const std::uint64_t word_bit = std::uint64_t{1} << word % kBits;
    if (used_[word] == kAll) {
      full_[word / kBits] |= word_bit;
    } else {
      full_[word / kBits] &= ~word_bit;
    }
    slot = (word + 1) * kBits;
  }
}

}  // namespace vmm::reclaim
