// LruCache: values by key in containers of the standard library whose memory is a guest's; the value that was not asked
// for longest is the first to go.
// Thread-safety: any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <memory_resource>
#include <mutex>
#include <string>
#include <unordered_map>

namespace pmr_container {

struct CacheFigures {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;  // of the values
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t wrong = 0;  // hits whose value was not the one that was put
};

class LruCache {
 public:
  explicit LruCache(std::pmr::memory_resource& memory) : entries_(&memory), index_(&memory) {}

  // Looks the value up, and makes and keeps it where it is not there. Where the memory is full, others make room.
  void use(std::uint64_t key);
  // Gives up values of about that many bytes. For HeapOptions::on_pressure: it does not wait longer than `patience` for
  // the cache, whose user may itself be waiting for the memory that the host wants.
  void evict(std::uint64_t bytes, std::chrono::milliseconds patience);
  CacheFigures figures() const;

 private:
  struct Entry {
    std::uint64_t key;
    std::pmr::string value;
  };
  using Entries = std::pmr::list<Entry>;

  static constexpr std::uint64_t kNoCapacity = std::uint64_t{1} << 62;

  void put_locked(std::uint64_t key);
  void drop_oldest_locked();

  mutable std::timed_mutex mutex_;
  Entries entries_;  // the latest first
  std::pmr::unordered_map<std::uint64_t, Entries::iterator> index_;
  CacheFigures figures_;
  std::uint64_t capacity_ = kNoCapacity;  // bytes of values; until the first eviction, what fits
};

}  // namespace pmr_container
