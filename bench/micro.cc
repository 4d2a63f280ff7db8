// Hot paths by themselves, as ordinary benchmarks of Google Benchmark: ./run bench --micro
#include <array>
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/histogram.h"
#include "base/zero_page.h"
#include "os/pagemap.h"
#include "reclaim/checksum.h"
#include "reclaim/slot_map.h"
#include "region/page_table.h"
#include "support/hosts.h"
#include "support/memory.h"

namespace vmm::bench {
namespace {

constexpr std::uint64_t kPages = 16384;

// From memory, not from a cache: a page is checked once, when it comes or goes.
void page_checksum(benchmark::State& state) {
  PlainMapping mapping(kPages * kPageSize, Pages::small);
  fill_incompressible(mapping.memory(), 1);
  std::uint64_t page = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(reclaim::page_checksum(1, 2, page, 3, mapping.memory().data() + page * kPageSize));
    page = (page + 1) % kPages;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kPageSize));
}
BENCHMARK(page_checksum);

void is_zero_page(benchmark::State& state) {
  PlainMapping mapping(kPages * kPageSize, Pages::small);
  touch_all(mapping.memory());
  for (std::uint64_t at = 0; at < mapping.memory().size(); at += kPageSize) mapping.memory()[at] = std::byte{0};
  std::uint64_t page = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(base::is_zero_page(mapping.memory().data() + page * kPageSize));
    page = (page + 1) % kPages;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kPageSize));
}
BENCHMARK(is_zero_page);

// A slice of 32 MiB; the argument is whether PAGEMAP_SCAN is used.
void pagemap_slice(benchmark::State& state) {
  constexpr std::uint64_t kSlice = 8192;
  auto pagemap = os::Pagemap::open(state.range(0) != 0);
  if (!pagemap || pagemap->has_scan() != (state.range(0) != 0)) {
    state.SkipWithError("not available");
    return;
  }
  PlainMapping mapping(kSlice * kPageSize, Pages::small);
  touch_all(mapping.memory());
  std::vector<std::uint8_t> bits(kSlice);
  for (auto _ : state) {
    if (pagemap->bits(mapping.memory().data(), kSlice, bits.data()) != 0) state.SkipWithError("bits");
    benchmark::DoNotOptimize(bits.data());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kSlice));
}
BENCHMARK(pagemap_slice)->ArgName("scan")->Arg(1)->Arg(0);

// The argument: percent of the slots that are in use, scattered.
void slot_map_run(benchmark::State& state) {
  constexpr std::uint64_t kSlots = 1 << 20;
  auto map = value_of(reclaim::SlotMap::create(kSlots));
  static_cast<void>(map.allocate(0, kSlots));
  const auto order = shuffled(kSlots, 1);
  for (std::size_t i = 0; i < kSlots * static_cast<std::uint64_t>(100 - state.range(0)) / 100; ++i)
    map.free(order[i], 1);
  for (auto _ : state) {
    const auto run = map.allocate(~std::uint64_t{0}, 64);
    map.free(run.first, run.count);
  }
}
BENCHMARK(slot_map_run)->ArgName("used")->Arg(0)->Arg(50)->Arg(99);

void page_table_lock(benchmark::State& state) {
  auto table = value_of(region::PageTable::create(kPages));
  std::uint64_t page = 0;
  for (auto _ : state) {
    const auto word = table.try_lock(page);
    table.unlock(page, *word);
    page = (page + 1) % kPages;
  }
}
BENCHMARK(page_table_lock);

void histogram_record(benchmark::State& state) {
  base::Histogram histogram;
  std::uint64_t value = 1;
  for (auto _ : state) {
    histogram.record(value);
    value = value * 3 % 1'000'003;
  }
}
BENCHMARK(histogram_record);

}  // namespace
}  // namespace vmm::bench
