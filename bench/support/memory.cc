#include "support/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "base/random.h"
#include "vmm/units.h"

namespace vmm::bench {

PlainMapping::PlainMapping(std::uint64_t bytes, Pages pages) : mapped_(bytes + kHugePageSize) {
  base_ = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base_ == MAP_FAILED) throw std::runtime_error(std::string("mmap: ") + std::strerror(errno));
  const auto address = reinterpret_cast<std::uintptr_t>(base_);
  const auto aligned = (address + kHugePageSize - 1) / kHugePageSize * kHugePageSize;
  memory_ = {reinterpret_cast<std::byte*>(aligned), bytes};
  ::madvise(memory_.data(), bytes, pages == Pages::huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

PlainMapping::~PlainMapping() { ::munmap(base_, mapped_); }

void PlainMapping::drop() { ::madvise(memory_.data(), memory_.size(), MADV_DONTNEED); }

void touch_all(std::span<std::byte> memory) {
  volatile std::byte* const bytes = memory.data();
  for (std::uint64_t at = 0; at < memory.size(); at += kPageSize) bytes[at] = std::byte{1};
}

void touch_in_order(std::span<std::byte> memory, const std::vector<std::uint32_t>& order) {
  volatile std::byte* const bytes = memory.data();
  for (const auto page : order) bytes[page * kPageSize] = std::byte{1};
}

std::vector<std::uint32_t> shuffled(std::uint64_t pages, std::uint64_t seed, std::uint64_t step) {
  std::vector<std::uint32_t> order;
  for (std::uint64_t page = 0; page < pages; page += step) order.push_back(static_cast<std::uint32_t>(page));
  base::Random random(seed);
  for (std::uint64_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

std::uint64_t access_randomly(std::span<std::byte> memory, std::uint64_t times, std::uint64_t seed) {
  auto* const words = reinterpret_cast<std::uint64_t*>(memory.data());
  const auto count = memory.size() / sizeof(std::uint64_t);
  base::Random random(seed);
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < times; ++i) sum += ++words[random.below(count)];
  return sum;
}

void fill_incompressible(std::span<std::byte> memory, std::uint64_t round) {
  auto* const words = reinterpret_cast<std::uint64_t*>(memory.data());
  constexpr auto kWords = kPageSize / sizeof(std::uint64_t);
  base::Random random(round);
  for (std::uint64_t page = 0; page < memory.size() / kPageSize; ++page) {
    auto* const at = words + page * kWords;
    for (std::uint64_t i = 1; i < kWords; ++i) at[i] = random.next();
    at[0] = page << 16 | round;
  }
}

std::uint64_t count_wrong(std::span<std::byte> memory, std::uint64_t round) {
  const volatile std::uint64_t* const words = reinterpret_cast<const std::uint64_t*>(memory.data());
  constexpr auto kWords = kPageSize / sizeof(std::uint64_t);
  std::uint64_t wrong = 0;
  for (std::uint64_t page = 0; page < memory.size() / kPageSize; ++page)
    wrong += words[page * kWords] == (page << 16 | round) ? 0 : 1;
  return wrong;
}

Smaps read_smaps(std::span<const std::byte> memory) {
  const auto first = reinterpret_cast<std::uintptr_t>(memory.data());
  const auto last = first + memory.size();
  std::ifstream file("/proc/self/smaps");
  std::string line;
  Smaps sums;
  bool counted = false;
  while (std::getline(file, line)) {
    std::uint64_t from = 0, to = 0, kilobytes = 0;
    char key[64];
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2) {
      counted = memory.empty() || (from < last && first < to);
    } else if (counted && std::sscanf(line.c_str(), "%63[^:]: %" SCNu64 " kB", key, &kilobytes) == 2) {
      if (std::strcmp(key, "Rss") == 0) sums.rss += kilobytes * KiB;
      if (std::strcmp(key, "Pss") == 0) sums.pss += kilobytes * KiB;
      if (std::strcmp(key, "Anonymous") == 0) sums.anonymous += kilobytes * KiB;
      if (std::strcmp(key, "AnonHugePages") == 0) sums.huge += kilobytes * KiB;
    }
  }
  return sums;
}

void warm_up(std::uint64_t bytes) {
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::uint64_t kilobytes = 0;
  while (file >> key >> kilobytes && key != "MemAvailable:") file.ignore(64, '\n');
  if (kilobytes > 0) bytes = std::min(bytes, kilobytes * KiB / 2);
  PlainMapping mapping(bytes / kHugePageSize * kHugePageSize, Pages::huge);
  touch_all(mapping.memory());
}

}  // namespace vmm::bench
