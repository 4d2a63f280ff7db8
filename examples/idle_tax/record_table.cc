#include "idle_tax/record_table.h"

#include <algorithm>
#include <cmath>

namespace idle_tax {
namespace {

constexpr std::uint64_t scramble(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// Ascending, with gaps.
constexpr std::uint64_t key_of(std::uint64_t index) noexcept { return (index << 8) + scramble(index) % 256; }

}  // namespace

RecordTable::RecordTable(std::span<std::byte> memory)
    : records_(reinterpret_cast<Record*>(memory.data()), memory.size() / sizeof(Record)) {
  for (std::uint64_t i = 0; i < records_.size(); ++i) {
    records_[i].key = key_of(i);
    write(records_[i], 0);
  }
}

void RecordTable::write(Record& record, std::uint64_t version) {
  record.version = version;
  for (std::uint64_t i = 0; i < std::size(record.fields); ++i) record.fields[i] = scramble(record.key + version + i);
}

bool RecordTable::use(std::mt19937_64& random) {
  const double x = std::uniform_real_distribution<double>(0, 1)(random);
  const auto index = static_cast<std::uint64_t>(std::pow(x, 1.5) * static_cast<double>(records_.size()));
  const std::uint64_t key = key_of(index);
  const auto found = std::lower_bound(records_.begin(), records_.end(), key,
                                      [](const Record& record, std::uint64_t k) { return record.key < k; });
  if (found == records_.end() || found->key != key) return false;
  for (std::uint64_t i = 0; i < std::size(found->fields); ++i)
    if (found->fields[i] != scramble(key + found->version + i)) return false;
  if (++uses_ % 4 == 0) write(*found, found->version + 1);
  return true;
}

}  // namespace idle_tax
