#include "sharing/share_table.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace vmm::sharing {
namespace {

// 24 bits of tag | 1 of kind | 39 of number + 1; 0: empty.
constexpr int kKindBit = 39, kTagShift = 40;
constexpr std::uint64_t kNumberMask = (std::uint64_t{1} << kKindBit) - 1;
// Of a key: what the tag does not hold says which bucket.
constexpr std::uint64_t kBucketBits = (std::uint64_t{1} << kTagShift) - 1;

std::uint64_t tag_of(std::uint64_t key) { return key >> kTagShift; }
std::uint64_t word_of(std::uint64_t key, ShareEntry entry) {
  VMM_CHECK(entry.number < ShareTable::kNumbers);
  return tag_of(key) << kTagShift | std::uint64_t{entry.shared} << kKindBit | (entry.number + 1);
}
bool is_shared(std::uint64_t word) { return (word >> kKindBit & 1) != 0; }
bool is_hint(std::uint64_t word) { return word != 0 && !is_shared(word); }
bool has_tag(std::uint64_t word, std::uint64_t key) { return word != 0 && word >> kTagShift == tag_of(key); }
ShareEntry entry_of(std::uint64_t word) { return {is_shared(word), (word & kNumberMask) - 1}; }

}  // namespace

Result<ShareTable> ShareTable::create(std::uint64_t entries) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 40;
  if (entries > kMost)
    return base::invalid("entries of a share table: " + std::to_string(entries),
                         "give at most " + std::to_string(kMost));
  const auto buckets = std::max<std::uint64_t>((entries + kBucket - 1) / kBucket, 1);
  auto memory = os::Mapping::anonymous(buckets * kBucket * sizeof(Word));
  if (!memory) return tl::unexpected(memory.error());
  return ShareTable(std::move(*memory), buckets);
}

ShareTable::ShareTable(os::Mapping memory, std::uint64_t buckets) noexcept
    : memory_(std::move(memory)), buckets_(buckets) {}

ShareTable::ShareTable(ShareTable&& other) noexcept
    : memory_(std::move(other.memory_)),
      buckets_(other.buckets_),
      hints_(other.hints_.load()),
      shared_(other.shared_.load()),
      forgotten_(other.forgotten_.load()),
      refused_(other.refused_.load()) {}

ShareTable::Word* ShareTable::bucket(std::uint64_t key) const noexcept {
  static_assert(sizeof(Word) == sizeof(std::uint64_t) && Word::is_always_lock_free);
  // Pages of zeros are words of no entry.
  const auto number =
      static_cast<std::uint64_t>((static_cast<unsigned __int128>(key & kBucketBits) * buckets_) >> kTagShift);
  return reinterpret_cast<Word*>(memory_.data()) + number * kBucket;
}

void ShareTable::count(std::uint64_t before, std::uint64_t after) noexcept {
  constexpr auto relaxed = std::memory_order_relaxed;
  if (is_hint(before)) hints_.fetch_sub(1, relaxed);
  if (is_shared(before)) shared_.fetch_sub(1, relaxed);
  if (is_hint(after)) hints_.fetch_add(1, relaxed);
  if (is_shared(after)) shared_.fetch_add(1, relaxed);
}

std::optional<ShareEntry> ShareTable::find(std::uint64_t key) const noexcept {
  const Word* words = bucket(key);
  std::optional<ShareEntry> found;
  for (std::size_t i = 0; i < kBucket; ++i) {
    const auto word = words[i].load(std::memory_order_acquire);
    if (!has_tag(word, key)) continue;
    found = entry_of(word);
    if (found->shared) break;
  }
  return found;
}

std::optional<ShareEntry> ShareTable::offer(std::uint64_t key, std::uint64_t page) noexcept {
  const Word* words = bucket(key);
  const auto own = word_of(key, {false, page});
  std::optional<ShareEntry> found;
  bool noted = false;
  for (std::size_t i = 0; i < kBucket; ++i) {
    const auto word = words[i].load(std::memory_order_acquire);
    noted = noted || word == own;
    if (word == own || !has_tag(word, key)) continue;
    found = entry_of(word);
    if (found->shared) break;
  }
  if (!found && !noted) insert(key, {false, page});
  return found;
}

bool ShareTable::add_shared(std::uint64_t key, std::uint64_t frame) noexcept { return insert(key, {true, frame}); }

bool ShareTable::insert(std::uint64_t key, ShareEntry entry) noexcept {
  Word* words = bucket(key);
  const auto word = word_of(key, entry);
  // An empty place, else a hint's, from another one on for each key.
  const auto first = static_cast<std::size_t>(key >> (kTagShift - 3)) % kBucket;
  for (const bool empty : {true, false})
    for (std::size_t i = 0; i < kBucket; ++i) {
      auto& place = words[(first + i) % kBucket];
      auto before = place.load(std::memory_order_relaxed);
      while (empty ? before == 0 : is_hint(before)) {
        if (!place.compare_exchange_weak(before, word, std::memory_order_acq_rel, std::memory_order_relaxed)) continue;
        count(before, word);
        if (!empty) forgotten_.fetch_add(1, std::memory_order_relaxed);
        return true;
      }
    }
  refused_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

bool ShareTable::replace(std::uint64_t key, ShareEntry from, ShareEntry to) noexcept {
  return exchange(key, word_of(key, from), word_of(key, to));
}

bool ShareTable::erase(std::uint64_t key, ShareEntry entry) noexcept { return exchange(key, word_of(key, entry), 0); }

bool ShareTable::exchange(std::uint64_t key, std::uint64_t before, std::uint64_t after) noexcept {
  Word* words = bucket(key);
  for (std::size_t i = 0; i < kBucket; ++i) {
    auto expected = before;
    if (!words[i].compare_exchange_strong(expected, after, std::memory_order_acq_rel, std::memory_order_relaxed))
      continue;
    count(before, after);
    return true;
  }
  return false;
}

std::optional<ShareEntry> ShareTable::entry_in(std::uint64_t word) noexcept {
  if (word == 0) return std::nullopt;
  return entry_of(word);
}

bool ShareTable::clear(Word& place, std::uint64_t word) noexcept {
  if (!place.compare_exchange_strong(word, 0, std::memory_order_acq_rel, std::memory_order_relaxed)) return false;
  count(word, 0);
  return true;
}

ShareTable::Counts ShareTable::counts() const noexcept {
  constexpr auto relaxed = std::memory_order_relaxed;
  return {hints_.load(relaxed), shared_.load(relaxed), forgotten_.load(relaxed), refused_.load(relaxed)};
}

}  // namespace vmm::sharing
