// FreeSpans: a set of free pages, merged into spans and found by address or by size. SpanNodes: the tree nodes it is
// made of, kept in stock so that a change can be made sure of before it is begun: whoever has reserved cannot fail
// halfway.
// Thread-safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "heap/page_span.h"

namespace vmm::heap {

class SpanNodes {
 public:
  using ByAddress = std::map<std::uint64_t, std::uint64_t>;               // first -> count
  using BySize = std::set<std::pair<std::uint64_t, std::uint64_t>>;       // {count, first}

  // That many spans can be added now without memory. False: there is none.
  bool reserve(std::size_t spans) noexcept;

 private:
  friend class FreeSpans;
  static constexpr std::size_t kKept = 256;

  ByAddress::node_type address_node() noexcept;
  BySize::node_type size_node() noexcept;
  void keep(ByAddress::node_type node) noexcept;
  void keep(BySize::node_type node) noexcept;

  std::vector<ByAddress::node_type> address_nodes_;
  std::vector<BySize::node_type> size_nodes_;
};

class FreeSpans {
 public:
  // `nodes` outlives it.
  explicit FreeSpans(SpanNodes& nodes) noexcept : nodes_(nodes) {}
  FreeSpans(const FreeSpans&) = delete;
  FreeSpans& operator=(const FreeSpans&) = delete;

  // Each needs one reserved span. What is added is not in the set; what is removed lies within one span of it.
  void add(PageSpan span) noexcept;
  void remove(PageSpan span) noexcept;

  // The smallest span that has `count` pages from a page p on where (base + p) is a multiple of `alignment`, the lowest
  // of equals: those pages. `alignment` is a power of two.
  std::optional<PageSpan> best_fit(std::uint64_t count, std::uint64_t alignment, std::uint64_t base) const noexcept;
  std::optional<PageSpan> largest() const noexcept;
  // The span that has the page, else the next one.
  std::optional<PageSpan> at_or_after(std::uint64_t page) const noexcept;

  // Calls f(span) from the largest to the smallest until it returns false. f may not change the set.
  template <class F>
  void from_largest(F&& f) const {
    for (auto it = by_size_.rbegin(); it != by_size_.rend(); ++it)
      if (!f(PageSpan{it->second, it->first})) return;
  }

  std::uint64_t pages() const noexcept { return pages_; }
  std::size_t spans() const noexcept { return by_address_.size(); }

 private:
  void insert(PageSpan span) noexcept;
  void erase(SpanNodes::ByAddress::iterator it) noexcept;
  void replace(SpanNodes::ByAddress::iterator it, PageSpan span) noexcept;

  SpanNodes& nodes_;
  SpanNodes::ByAddress by_address_;
  SpanNodes::BySize by_size_;
  std::uint64_t pages_ = 0;
};

}  // namespace vmm::heap
