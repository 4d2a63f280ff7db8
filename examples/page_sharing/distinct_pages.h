// DistinctPages: counts pages of which no two are equal, byte for byte. What remains is what sharing can save at most.
// Thread-safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_set>

namespace page_sharing {

// Bytes of pages.
struct PageCount {
  std::uint64_t all = 0;
  std::uint64_t zero = 0;      // nothing but zeros
  std::uint64_t distinct = 0;  // of the others, one of each
  std::uint64_t spare() const noexcept { return all - distinct; }
};

class DistinctPages {
 public:
  // `memory` is of whole pages. It is looked at again by later calls: it stays, unchanged, while this lives.
  void add(std::span<const std::byte> memory);

  const PageCount& count() const noexcept { return count_; }

 private:
  PageCount count_;
  std::unordered_set<std::string_view> seen_;
};

}  // namespace page_sharing
