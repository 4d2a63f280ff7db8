// pmr_container: a cache in containers of the standard library whose memory is a guest's. When a neighbour needs
// memory, the host asks the guest's heap: first for what is free in it, then for the oldest values of the cache. Little
// of it goes to the swap file, the rest stays as fast as it was, and the hit rate tells what it cost.

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>

#include "lru_cache.h"
#include "plot/plot.h"
#include "vmm/heap.h"
#include "vmm/vmm.h"

namespace pmr_container {
namespace {

constexpr std::uint64_t kKeys = 16'000;  // values of 250 MiB

// Small keys are wanted far more often than large ones.
class Requests {
 public:
  std::uint64_t next() {
    const double x = uniform_(random_);
    return static_cast<std::uint64_t>(x * x * x * static_cast<double>(kKeys));
  }

 private:
  std::mt19937_64 random_{1};
  std::uniform_real_distribution<double> uniform_{0, 1};
};

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(vmm::MiB); }

// What became of the cache and of its memory, as a table and as curves over the requests.
class Record {
 public:
  Record(const vmm::Guest& guest, const vmm::Heap& heap, const LruCache& cache)
      : guest_(guest), heap_(heap), cache_(cache) {
    std::printf("%-34s %8s %9s %9s %9s %9s %9s\n", "MiB", "hit rate", "in cache", "heap free", "given", "resident",
                "swapped");
  }

  // A line about what has happened since the last one; the plot is marked here.
  void row(const char* what) {
    const CacheFigures now = cache_.figures();
    const auto heap = heap_.stats();
    const auto guest = guest_.stats().value_or(vmm::GuestStats());
    const auto all = requests(now) - requests(last_row_);
    char rate[16] = "-";
    if (all > 0) std::snprintf(rate, sizeof rate, "%.1f %%", hit_rate(last_row_, now));
    std::printf("%-34s %8s %9.1f %9.1f %9.1f %9.1f %9.1f\n", what, rate, mib(now.bytes), mib(heap.free),
                mib(heap.given), mib(guest.resident), mib(guest.swapped));
    std::fflush(stdout);
    last_row_ = now;
  }
  void mark(const char* what) {
    for (auto* chart : {&memory_, &hits_}) chart->marks.push_back({at(cache_.figures()), what});
  }

  // A point of the curves, when there have been enough requests since the last one.
  void look() {
    const CacheFigures now = cache_.figures();
    if (requests(now) - requests(last_point_) < kPerPoint) return;
    const auto guest = guest_.stats().value_or(vmm::GuestStats());
    const double values[] = {mib(now.bytes), mib(guest.resident), mib(guest.swapped)};
    for (std::size_t i = 0; i < std::size(values); ++i) memory_.curves[i].points.push_back({at(now), values[i]});
    hits_.curves[0].points.push_back({at(now), hit_rate(last_point_, now)});
    last_point_ = now;
  }

  // False, with errno set: the file could not be written. No file for "".
  bool draw(const std::string& svg) const {
    const plot::Chart charts[] = {memory_, hits_};
    for (const auto& chart : charts) std::printf("\n%s", plot::text(chart).c_str());
    return svg.empty() || plot::write_svg(svg, charts);
  }

 private:
  static constexpr std::uint64_t kPerPoint = 4000;
  static std::uint64_t requests(const CacheFigures& f) { return f.hits + f.misses; }
  static double at(const CacheFigures& f) { return static_cast<double>(requests(f)) / 1000; }
  static double hit_rate(const CacheFigures& from, const CacheFigures& to) {
    return 100.0 * static_cast<double>(to.hits - from.hits) / static_cast<double>(requests(to) - requests(from));
  }

  const vmm::Guest& guest_;
  const vmm::Heap& heap_;
  const LruCache& cache_;
  CacheFigures last_row_, last_point_;
  plot::Chart memory_{"Memory of the cache", "thousand requests", "MiB",
                      {{"values in cache", {}}, {"resident", {}}, {"swapped", {}}}, {}};
  plot::Chart hits_{"Requests found in the cache", "thousand requests", "%", {{"hit rate", {}}}, {}};
};

int fail(const vmm::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return 2;
}

vmm::Result<vmm::Guest> make_guest(vmm::Host& host, const char* name, std::uint64_t memory) {
  vmm::GuestOptions options;
  options.name = name;
  options.memory = memory;
  return host.create_guest(options);
}

int run(const std::string& svg) {
  vmm::HostOptions host_options;
  host_options.memory = 256 * vmm::MiB;
  auto host = vmm::Host::create(host_options);
  if (!host) return fail(host.error());
  auto guest = make_guest(*host, "cache", 200 * vmm::MiB);
  if (!guest) return fail(guest.error());

  auto heap = vmm::Heap::create(*guest);
  if (!heap) return fail(heap.error());
  LruCache cache(heap->resource());
  heap->on_pressure([&](std::uint64_t bytes) { cache.evict(bytes, host_options.balloon_timeout / 4); });
  if (const auto set = guest->set_balloon(heap->balloon_driver()); !set) return fail(set.error());

  Record record(*guest, *heap, cache);
  Requests requests;
  const auto use = [&](int count) {
    for (int i = 0; i < count; ++i) {
      cache.use(requests.next());
      record.look();
    }
  };
  use(60'000);
  record.row("the cache fills its guest");
  use(60'000);
  record.row("60,000 requests");

  {
    auto neighbour = make_guest(*host, "neighbour", 160 * vmm::MiB);
    if (!neighbour) return fail(neighbour.error());
    record.mark("neighbour grows");
    const auto memory = neighbour->memory();
    // As a program grows that does something else as well: a balloon takes a moment.
    for (std::uint64_t offset = 0; offset < memory.size(); offset += vmm::MiB) {
      std::memset(memory.data() + offset, 1, vmm::MiB);
      use(400);
    }
    record.row("a neighbour grows to 160 MiB");
    use(60'000);
    record.row("60,000 requests, the neighbour idle");
    record.mark("it ends");
  }
  use(60'000);
  record.row("60,000 requests, it has ended");

  if (!record.draw(svg)) {
    std::perror(svg.c_str());
    return 2;
  }
  const auto set = guest->set_balloon(nullptr);
  heap->on_pressure({});  // the cache goes before the heap that it is in
  const auto figures = cache.figures();
  const auto stats = heap->stats();
  std::printf("\n%" PRIu64 " requests, %" PRIu64 " values that were wrong; on_pressure was called %" PRIu64 " times\n",
              figures.hits + figures.misses, figures.wrong, stats.pressure_calls);
  return set && figures.wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace pmr_container

int main(int argc, char** argv) {
  if (argc == 1) return pmr_container::run("");
  if (argc == 3 && std::strcmp(argv[1], "--svg") == 0) return pmr_container::run(argv[2]);
  std::fprintf(stderr, "usage: %s [--svg FILE]   the plot as a picture too\n", argv[0]);
  return 2;
}
