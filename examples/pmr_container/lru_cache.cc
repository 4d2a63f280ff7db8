#include "lru_cache.h"

#include <algorithm>
#include <new>

namespace pmr_container {
namespace {

constexpr std::uint64_t scramble(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// What a value is follows from its key: 8 to 24 KiB of one letter.
std::size_t size_of(std::uint64_t key) noexcept { return 8192 + scramble(key) % 16384; }
char letter_of(std::uint64_t key) noexcept { return static_cast<char>('a' + scramble(key + 1) % 26); }

}  // namespace

void LruCache::use(std::uint64_t key) {
  const std::lock_guard<std::timed_mutex> lock(mutex_);
  const auto found = index_.find(key);
  if (found == index_.end()) {
    ++figures_.misses;
    put_locked(key);
    return;
  }
  ++figures_.hits;
  entries_.splice(entries_.begin(), entries_, found->second);
  const std::pmr::string& value = found->second->value;
  const char letter = letter_of(key);
  if (value.size() != size_of(key) || std::any_of(value.begin(), value.end(), [&](char c) { return c != letter; }))
    ++figures_.wrong;
}

void LruCache::put_locked(std::uint64_t key) {
  // What was given up comes back little by little: as one part of sixteen that are put.
  const auto bytes = size_of(key);
  if (capacity_ < kNoCapacity) capacity_ += bytes / 16;
  while (!entries_.empty() && figures_.bytes + bytes > capacity_) drop_oldest_locked();
  for (;;) {
    try {
      entries_.push_front({key, std::pmr::string(size_of(key), letter_of(key), entries_.get_allocator())});
      try {
        index_.emplace(key, entries_.begin());
      } catch (...) {
        entries_.pop_front();
        throw;
      }
      figures_.bytes += entries_.front().value.size();
      ++figures_.entries;
      return;
    } catch (const std::bad_alloc&) {
      if (entries_.empty()) return;  // not even one fits: it is not kept
      drop_oldest_locked();
    }
  }
}

void LruCache::drop_oldest_locked() {
  figures_.bytes -= entries_.back().value.size();
  --figures_.entries;
  index_.erase(entries_.back().key);
  entries_.pop_back();
}

void LruCache::evict(std::uint64_t bytes, std::chrono::milliseconds patience) {
  const std::unique_lock<std::timed_mutex> lock(mutex_, patience);
  if (!lock) return;
  // Values of so many bytes seldom make so many whole pages: a quarter more. And it keeps to that.
  capacity_ = figures_.bytes - std::min(bytes + bytes / 4, figures_.bytes);
  while (figures_.bytes > capacity_) drop_oldest_locked();
}

CacheFigures LruCache::figures() const {
  const std::lock_guard<std::timed_mutex> lock(mutex_);
  return figures_;
}

}  // namespace pmr_container
