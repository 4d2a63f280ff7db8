#include "stress/giving_driver.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "vmm/units.h"

namespace vmm::stress {
namespace {

constexpr std::uint64_t kMostRanges = 8, kMostPages = 96;  // of an answer, of a range

}  // namespace

std::vector<BalloonRange> GivingDriver::inflate(std::uint64_t bytes) {
  if (random_.below(400) == 0) throw std::runtime_error("nothing to give today");
  std::uint64_t left = bytes / kPageSize;
  for (std::uint64_t i = 0; i < kMostRanges && left > 0; ++i) {
    const auto first = random_.below(pages_);
    const auto most = std::min({first + 1 + random_.below(kMostPages), pages_, first + left});
    auto end = first;
    while (end < most && shadow_[end].try_lock()) ++end;
    if (end == first) continue;
    for (auto page = first; page < end; ++page) shadow_[page].log(Op::give, 0, i);
    given_.push_back({first * kPageSize, (end - first) * kPageSize});
    left -= end - first;
  }
  auto answer = given_;
  if (random_.below(20) == 0) answer.push_back({pages_ * kPageSize, kPageSize});
  if (random_.below(20) == 0) answer.push_back({pages_ * kPageSize + 17, 3});
  // Longer than the host waits.
  if (random_.below(200) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(150));
  return answer;
}

void GivingDriver::deflate(const std::vector<BalloonRange>& ranges) {
  const auto refused = [&](std::uint64_t page) {
    return std::any_of(ranges.begin(), ranges.end(), [&](const BalloonRange& r) {
      return page * kPageSize >= r.offset && page * kPageSize < r.offset + r.bytes;
    });
  };
  for (const auto& range : given_)
    for (auto page = range.offset / kPageSize; page < (range.offset + range.bytes) / kPageSize; ++page) {
      auto& shadow = shadow_[page];
      if (!refused(page)) {
        shadow.set_content({shadow.content().version + 1, 0, Kind::zero});
        shadow.reset_counters();
      }
      shadow.unlock();
    }
  given_.clear();
}

}  // namespace vmm::stress
