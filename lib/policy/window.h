// Windows: how many pages to bring for one fault. Both grow while faults follow each other and collapse when
// they scatter, like the read-ahead of file systems (Linux mm/readahead.c).
// Thread-safety: values of one fault thread; pure apart from their own history.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace vmm::policy {

struct PageRange {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

// Untouched memory: which pages to fill for a fault on `page`.
class FillWindow {
 public:
  static constexpr std::uint64_t kMost = 512;       // a huge page
  static constexpr std::uint64_t kMostScarce = 64;  // while memory is short
  static constexpr std::uint64_t kScattered = 16;   // an aligned block, while there is room: a fault costs
                                                    // what filling 20-60 pages does
  PageRange next(std::uint64_t page, bool roomy) noexcept {
    const bool follows = page >= end_ && page - end_ <= window_;
    if (follows) {
      window_ = std::min(std::max<std::uint64_t>(window_, 1) * 4, roomy ? kMost : kMostScarce);
      end_ = page + window_;
      return {page, window_};
    }
    window_ = roomy ? kScattered : 1;
    const auto first = page / window_ * window_;
    end_ = first + window_;
    return {first, window_};
  }

 private:
  std::uint64_t end_ = ~std::uint64_t{0};  // page after the last one brought
  std::uint64_t window_ = 0;
};

// Swapped memory: how far to read for a fault on `page`. Several streams are told apart.
class ReadWindow {
 public:
  explicit ReadWindow(std::uint32_t most) noexcept : most_(most) {}

  struct Plan {
    std::uint32_t pages = 1;    // to read from the faulting page on
    std::uint64_t ahead_to = 0; // keep reads in flight up to this page (exclusive); 0 = none
  };

  // `page` was touched: it is swapped, or its read is in flight.
  Plan next(std::uint64_t page) noexcept {
    for (auto& s : streams_) {
      // A stream's next touch lies between the page after the last one and the end of what was read ahead.
      if (s.pages == 0 || page < s.last || page > s.end) continue;
      if (page == s.last) return {s.pages, s.end};
      s.pages = std::min(s.pages * 2, most_);
      s.last = page;
      const std::uint64_t ahead = s.pages >= most_ ? kDepth * most_ : s.pages;
      s.end = std::max(s.end, page + ahead);
      s.used = ++clock_;
      return {s.pages, s.end};
    }
    auto* oldest = &*std::min_element(streams_.begin(), streams_.end(),
                                      [](const Stream& a, const Stream& b) { return a.used < b.used; });
    *oldest = {page, page + 1, 1, ++clock_};
    return {1, page + 1};
  }

  // Pages [from, from + count), which were read ahead, have come: what to read next so that the device goes on
  // while the thread that will touch them has not run yet. Empty unless they are a stream's at full window.
  PageRange came(std::uint64_t from, std::uint64_t count) noexcept {
    for (auto& s : streams_) {
      if (s.pages < most_ || from < s.last || from >= s.end) continue;
      const auto most = s.last + 2 * kDepth * most_;
      const auto next = s.end;
      s.end = std::max(next, std::min(next + count, most));
      return {next, s.end - next};
    }
    return {};
  }

  // Reads in flight that hide a device's latency once a stream is at full window.
  static constexpr std::uint64_t kDepth = 8;

 private:
  struct Stream {
    std::uint64_t last = 0;   // page last touched
    std::uint64_t end = 0;    // page after the last one read
    std::uint32_t pages = 0;  // window; 0 = unused
    std::uint64_t used = 0;   // for replacing the oldest
  };
  std::array<Stream, 8> streams_{};
  std::uint32_t most_;
  std::uint64_t clock_ = 0;
};

}  // namespace vmm::policy
