// Share table: where a page with these bytes was seen last, or is shared already.
//
// Entries are of two kinds, as ESX has them (Waldspurger, "Memory Resource Management in VMware ESX Server", OSDI 2002,
// section 4): a *hint* says that a page of a guest had that key when it was read, and protects nothing; a *shared* one,
// that a frame holds such bytes. A hint may be out of date, and is never more than that: what it leads to is read
// again.
//
// Eight bytes an entry, eight entries a bucket, which is one cache line: 24 bits of the key (the bucket has others),
// the kind, and 39 bits of a page or frame number. Open addressing within the bucket; where it is full a new hint takes
// the place of another hint, never of a shared entry. So the table never grows, and a full one forgets hints. Two pages
// of different keys are taken for each other once in two million looks; their bytes are compared then, in vain.
//
// Thread-safety: all functions may be called from any thread at once; nothing waits.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "os/mapping.h"
#include "vmm/result.h"

namespace vmm::sharing {

// A page, numbered over all guests, as a hint; or a frame, numbered over all stores, as shared.
struct ShareEntry {
  bool shared = false;
  std::uint64_t number = 0;  // below ShareTable::kNumbers

  friend bool operator==(const ShareEntry&, const ShareEntry&) = default;
};

class ShareTable {
 public:
  static constexpr std::uint64_t kNumbers = (std::uint64_t{1} << 39) - 1;
  static constexpr std::size_t kBucket = 8;

  // For at least so many entries; memory is used where it is touched. Errors: EINVAL (more
  // than 2^40), ENOMEM.
  static Result<ShareTable> create(std::uint64_t entries);
  ShareTable(ShareTable&& other) noexcept;

  // What is known of the key beside that page itself: shared if there is such, else a hint. If nothing is, the page is
  // noted as a hint.
  std::optional<ShareEntry> offer(std::uint64_t key, std::uint64_t page) noexcept;
  // What is known, without noting anything.
  std::optional<ShareEntry> find(std::uint64_t key) const noexcept;
  // Notes a shared entry, in the place of a hint where the bucket is full. False: it is full of shared ones.
  bool add_shared(std::uint64_t key, std::uint64_t frame) noexcept;
  // Puts one entry in another's place. False: that one is not there (any more).
  bool replace(std::uint64_t key, ShareEntry from, ShareEntry to) noexcept;
  // False: it was not there.
  bool erase(std::uint64_t key, ShareEntry entry) noexcept;

  // Takes shared entries away whose frames nobody has any more, of the next `buckets` from `hand` on, which goes round.
  template <class IsDead>
  void sweep(std::uint64_t& hand, std::uint64_t buckets, IsDead&& is_dead) noexcept {
    for (; buckets > 0; --buckets, hand = hand + 1 < buckets_ ? hand + 1 : 0)
      for (std::size_t i = 0; i < kBucket; ++i) sweep_word(hand, i, is_dead);
  }

  // While threads are at work they may be off by as many, below zero too, which reads as a very large number.
  struct Counts {
    std::uint64_t hints = 0, shared = 0;  // entries now
    std::uint64_t forgotten = 0;          // hints that lost their place, since creation
    std::uint64_t refused = 0;            // entries for which there was no place
  };
  Counts counts() const noexcept;
  std::uint64_t capacity() const noexcept { return buckets_ * kBucket; }

 private:
  using Word = std::atomic<std::uint64_t>;

  ShareTable(os::Mapping memory, std::uint64_t buckets) noexcept;
  Word* bucket(std::uint64_t key) const noexcept;
  bool insert(std::uint64_t key, ShareEntry entry) noexcept;
  static std::optional<ShareEntry> entry_in(std::uint64_t word) noexcept;
  bool clear(Word& place, std::uint64_t word) noexcept;
  template <class IsDead>
  void sweep_word(std::uint64_t bucket, std::size_t i, IsDead&& is_dead) noexcept {
    auto& place = reinterpret_cast<Word*>(memory_.data())[bucket * kBucket + i];
    const auto word = place.load(std::memory_order_acquire);
    const auto entry = entry_in(word);
    if (entry && entry->shared && is_dead(entry->number)) clear(place, word);
  }
  bool exchange(std::uint64_t key, std::uint64_t before, std::uint64_t after) noexcept;  // words
  void count(std::uint64_t before, std::uint64_t after) noexcept;

  os::Mapping memory_;
  std::uint64_t buckets_;
  std::atomic<std::uint64_t> hints_{0}, shared_{0}, forgotten_{0}, refused_{0};
};

}  // namespace vmm::sharing
