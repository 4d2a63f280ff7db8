// RecordTable: a sorted table of records that fills a piece of memory, looked up and updated by key.
// Thread-safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>

namespace idle_tax {

class RecordTable {
 public:
  // Of `memory`, aligned to 256 bytes and at least that large, which it writes all of. It owns nothing.
  explicit RecordTable(std::span<std::byte> memory);

  // Looks a random key up by binary search and checks its record; every fourth time it writes the record too. Small
  // keys are wanted more often than large ones, but none less than two thirds as often as the average. False: the
  // record was not what had been written.
  bool use(std::mt19937_64& random);

  std::uint64_t records() const noexcept { return records_.size(); }

 private:
  struct Record {
    std::uint64_t key;
    std::uint64_t version;
    std::uint64_t fields[30];  // each follows from key and version
  };
  static_assert(sizeof(Record) == 256);

  static void write(Record& record, std::uint64_t version);

  std::span<Record> records_;
  std::uint64_t uses_ = 0;
};

}  // namespace idle_tax
