// Helpers of the sampler's tests: which pages are watched, a random choice of pages, and touching them.
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "support/node_rig.h"

namespace vmm::test {

inline std::vector<std::uint64_t> watched_pages(RigGuest& guest) {
  std::vector<std::uint64_t> pages;
  for (std::uint64_t page = 0; page < guest->pages(); ++page)
    if (guest->table.load(page).watched()) pages.push_back(page);
  return pages;
}

// `count` different pages below `all`, in random order.
inline std::vector<std::uint64_t> random_pages(std::uint64_t count, std::uint64_t all, base::Random& random) {
  std::vector<std::uint64_t> pages(all);
  for (std::uint64_t i = 0; i < all; ++i) pages[i] = i;
  for (std::uint64_t i = 0; i < count; ++i) std::swap(pages[i], pages[i + random.below(all - i)]);
  pages.resize(count);
  return pages;
}

// A guest whose pages' contents are known: each page has a version, 0 = zeros.
class Contents {
 public:
  explicit Contents(RigGuest& guest) : guest_(guest), versions_(guest->pages(), 0) {}

  void write(std::uint64_t page) { guest_.fill(page, page + 1, ++versions_[page]); }
  void write_all() {
    for (std::uint64_t page = 0; page < versions_.size(); ++page) write(page);
  }
  // Reads or writes it, as the generator says.
  void touch(std::uint64_t page, base::Random& random) {
    if (random.below(2) == 0) write(page);
    else static_cast<void>(*reinterpret_cast<const volatile std::uint64_t*>(guest_.at(page)));
  }
  void discarded(std::uint64_t page) { versions_[page] = 0; }
  std::string wrong() {
    for (std::uint64_t page = 0; page < versions_.size(); ++page) {
      const auto v = versions_[page];
      if (v == 0 && !is_zero(guest_.at(page))) return "page " + std::to_string(page) + " is not zero";
      if (v == 0) continue;
      if (const auto w = guest_.wrong(page, page + 1, v); !w.empty()) return w;
    }
    return {};
  }

 private:
  RigGuest& guest_;
  std::vector<std::uint64_t> versions_;
};

}  // namespace vmm::test
