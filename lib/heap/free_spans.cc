#include "heap/free_spans.h"

#include <algorithm>
#include <new>

#include "base/check.h"

namespace vmm::heap {

bool SpanNodes::reserve(std::size_t spans) noexcept {
  if (address_nodes_.size() >= spans && size_nodes_.size() >= spans) return true;
  try {
    // Room for what comes back, so that keep() needs none.
    address_nodes_.reserve(std::max(kKept, spans));
    size_nodes_.reserve(std::max(kKept, spans));
    while (address_nodes_.size() < spans) {
      ByAddress one{{0, 0}};
      address_nodes_.push_back(one.extract(one.begin()));
    }
    while (size_nodes_.size() < spans) {
      BySize one{{0, 0}};
      size_nodes_.push_back(one.extract(one.begin()));
    }
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

SpanNodes::ByAddress::node_type SpanNodes::address_node() noexcept {
  VMM_CHECK(!address_nodes_.empty());
  auto node = std::move(address_nodes_.back());
  address_nodes_.pop_back();
  return node;
}

SpanNodes::BySize::node_type SpanNodes::size_node() noexcept {
  VMM_CHECK(!size_nodes_.empty());
  auto node = std::move(size_nodes_.back());
  size_nodes_.pop_back();
  return node;
}

void SpanNodes::keep(ByAddress::node_type node) noexcept {
  if (address_nodes_.size() < std::min(kKept, address_nodes_.capacity())) address_nodes_.push_back(std::move(node));
}

void SpanNodes::keep(BySize::node_type node) noexcept {
  if (size_nodes_.size() < std::min(kKept, size_nodes_.capacity())) size_nodes_.push_back(std::move(node));
}

void FreeSpans::insert(PageSpan span) noexcept {
  auto by_address = nodes_.address_node();
  by_address.key() = span.first;
  by_address.mapped() = span.count;
  by_address_.insert(std::move(by_address));
  auto by_size = nodes_.size_node();
  by_size.value() = {span.count, span.first};
  by_size_.insert(std::move(by_size));
}

void FreeSpans::erase(SpanNodes::ByAddress::iterator it) noexcept {
  nodes_.keep(by_size_.extract({it->second, it->first}));
  nodes_.keep(by_address_.extract(it));
}

void FreeSpans::replace(SpanNodes::ByAddress::iterator it, PageSpan span) noexcept {
  auto by_size = by_size_.extract({it->second, it->first});
  by_size.value() = {span.count, span.first};
  by_size_.insert(std::move(by_size));
  if (it->first == span.first) {
    it->second = span.count;
    return;
  }
  auto by_address = by_address_.extract(it);
  by_address.key() = span.first;
  by_address.mapped() = span.count;
  by_address_.insert(std::move(by_address));
}

void FreeSpans::add(PageSpan span) noexcept {
  if (span.count == 0) return;
  pages_ += span.count;
  const auto right = by_address_.lower_bound(span.first);
  VMM_CHECK(right == by_address_.end() || right->first >= span.end());
  const auto left = right == by_address_.begin() ? by_address_.end() : std::prev(right);
  VMM_CHECK(left == by_address_.end() || left->first + left->second <= span.first);
  const bool joins_left = left != by_address_.end() && left->first + left->second == span.first;
  const bool joins_right = right != by_address_.end() && right->first == span.end();
  if (joins_right) span.count += right->second;
  if (joins_left) {
    if (joins_right) erase(right);
    replace(left, {left->first, left->second + span.count});
  } else if (joins_right) {
    replace(right, span);
  } else {
    insert(span);
  }
}

void FreeSpans::remove(PageSpan span) noexcept {
  if (span.count == 0) return;
  auto it = by_address_.upper_bound(span.first);
  VMM_CHECK(it != by_address_.begin());
  --it;
  const PageSpan whole{it->first, it->second};
  VMM_CHECK(span.end() <= whole.end());
  pages_ -= span.count;
  const PageSpan before{whole.first, span.first - whole.first};
  const PageSpan after{span.end(), whole.end() - span.end()};
  if (before.count > 0) {
    replace(it, before);
    if (after.count > 0) insert(after);
  } else if (after.count > 0) {
    replace(it, after);
  } else {
    erase(it);
  }
}

std::optional<PageSpan> FreeSpans::best_fit(std::uint64_t count, std::uint64_t alignment,
                                            std::uint64_t base) const noexcept {
  for (auto it = by_size_.lower_bound({count, 0}); it != by_size_.end(); ++it) {
    const auto [pages, first] = *it;
    const std::uint64_t lead = (alignment - (base + first) % alignment) % alignment;
    if (lead <= pages - count) return PageSpan{first + lead, count};
  }
  return std::nullopt;
}

std::optional<PageSpan> FreeSpans::largest() const noexcept {
  if (by_size_.empty()) return std::nullopt;
  return PageSpan{by_size_.rbegin()->second, by_size_.rbegin()->first};
}

std::optional<PageSpan> FreeSpans::at_or_after(std::uint64_t page) const noexcept {
  auto it = by_address_.upper_bound(page);
  if (it != by_address_.begin()) {
    const auto before = std::prev(it);
    if (before->first + before->second > page) it = before;
  }
  if (it == by_address_.end()) return std::nullopt;
  return PageSpan{it->first, it->second};
}

}  // namespace vmm::heap
