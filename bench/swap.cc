#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include "comparisons.h"
#include "support/hosts.h"
#include "support/kernel_swap.h"
#include "support/measure.h"
#include "support/memory.h"
#include "support/minimal_loop.h"
#include "support/processors.h"
#include "support/raw_file.h"

namespace vmm::bench {
namespace {

constexpr std::uint64_t kGuest = 512 * MiB;
// The library's own: 20 writes of 64 pages in flight.
constexpr unsigned kWriteDepth = 20, kReadDepth = 8;

double mb_per_second(double seconds) { return static_cast<double>(kGuest) / 1e6 / seconds; }

HostOptions swap_host(const Settings& settings) {
  HostOptions options;
  options.memory = 4 * kGuest;
  options.swap_directory = settings.directory;
  return options;
}

// Takes all of the guest's memory; returns the seconds.
double push_out(Guest& guest) {
  return seconds([&] {
    const auto freed = value_of(guest.reclaim(guest.memory().size()));
    if (freed != guest.memory().size())
      throw std::runtime_error(text("only %llu bytes were reclaimed", static_cast<unsigned long long>(freed)));
  });
}

// Touches every page in order and checks it; returns the seconds.
double bring_in(std::span<std::byte> memory, std::uint64_t round) {
  std::uint64_t wrong = 0;
  const double took = seconds([&] { wrong = count_wrong(memory, round); });
  if (wrong != 0) throw std::runtime_error(text("%llu pages are wrong", static_cast<unsigned long long>(wrong)));
  return took;
}

struct SwapFigures {
  Pair out, in;  // against the raw file
  Samples raw_contiguous_out;
  Samples kernel_out, kernel_in;
};

SwapFigures measure(const Settings& settings, Pages pages, RawFile& raw, PlainMapping& buffer, KernelSwap* kernel_swap,
                    PlainMapping* kernel, int turns) {
  auto host = make_host(swap_host(settings));
  auto guest = make_guest(host, kGuest, pages, true);
  SwapFigures figures;
  // The first turn writes both files for the first time, which file systems charge for, and is not counted.
  for (int i = -1; i < turns; ++i) {
    const auto round = static_cast<std::uint64_t>(i + 2);
    discard_all(guest);
    fill_incompressible(guest.memory(), round);
    settle();
    double out[2]{}, in[2]{};
    // The same pages: what a write costs depends on how scattered its frames are, a segment each for the device.
    out[1] = raw.write_all(guest.memory(), kWriteDepth);
    out[0] = push_out(guest);
    const double contiguous = raw.write_all(buffer.memory(), kWriteDepth);
    for (int k = 0; k < 2; ++k)
      if ((i + 2 + k) % 2 == 0)
        in[0] = bring_in(guest.memory(), round);
      else
        in[1] = raw.read_all(buffer.memory(), kReadDepth);
    double kernel_out = 0, kernel_in = 0;
    if (kernel_swap != nullptr) {
      kernel_swap->charged([&] { fill_incompressible(kernel->memory(), round); });
      kernel_out = seconds([&] { kernel_swap->push_out(kernel->memory()); });
      kernel_swap->empty_cache();
      kernel_in = bring_in(kernel->memory(), round);
    }
    if (i < 0) continue;
    figures.out.ours.add(out[0]);
    figures.out.peer.add(out[1]);
    figures.raw_contiguous_out.add(contiguous);
    figures.in.ours.add(in[0]);
    figures.in.peer.add(in[1]);
    if (kernel_swap != nullptr) {
      figures.kernel_out.add(kernel_out);
      figures.kernel_in.add(kernel_in);
    }
  }
  return figures;
}

}  // namespace

void compare_swap(const Settings& settings, Report& report) {
  RawFile raw(settings.directory, kGuest);
  PlainMapping buffer(kGuest, Pages::huge);  // contiguous: as fast as the file can
  fill_incompressible(buffer.memory(), 99);
  std::unique_ptr<KernelSwap> kernel_swap;
  std::optional<PlainMapping> kernel;  // goes before the swap it is in
  std::string no_kernel_swap;
  try {
    kernel_swap = std::make_unique<KernelSwap>(settings.program, settings.directory, kGuest + 64 * MiB);
    kernel.emplace(kGuest, Pages::small);
  } catch (const std::runtime_error& e) {
    no_kernel_swap = e.what();
  }
  for (const auto pages : {Pages::huge, Pages::small}) {
    const std::string kind = std::string(" (") + to_string(pages) + ")";
    auto* const swap = pages == Pages::small ? kernel_swap.get() : nullptr;
    const auto f = measure(settings, pages, raw, buffer, swap, kernel ? &*kernel : nullptr, 9);
    // Speeds, so the inverse of the ratio of times.
    report.at_least(
        "swap-out" + kind, 1 / f.out.ratio(), 0.85,
        text("%.0f MB/s, raw write %.0f", mb_per_second(f.out.ours.median()), mb_per_second(f.out.peer.median())));
    report.note("swap-out" + kind + ", against raw writes of contiguous memory",
                f.raw_contiguous_out.median() / f.out.ours.median(),
                text("raw write %.0f MB/s", mb_per_second(f.raw_contiguous_out.median())));
    report.at_least(
        "sequential swap-in" + kind, 1 / f.in.ratio(), 0.70,
        text("%.0f MB/s, raw read %.0f", mb_per_second(f.in.ours.median()), mb_per_second(f.in.peer.median())));
    if (swap != nullptr) {
      std::ifstream file("/proc/sys/vm/page-cluster");
      int page_cluster = -1;
      file >> page_cluster;
      report.at_least("sequential swap-in, against the kernel's", f.kernel_in.median() / f.in.ours.median(), 2.0,
                      text("%.0f MB/s, kernel %.0f (page-cluster %d)", mb_per_second(f.in.ours.median()),
                           mb_per_second(f.kernel_in.median()), page_cluster));
      report.note("swap-out, against the kernel's", f.kernel_out.median() / f.out.ours.median(),
                  text("%.0f MB/s, kernel %.0f (MADV_PAGEOUT)", mb_per_second(f.out.ours.median()),
                       mb_per_second(f.kernel_out.median())));
    }
  }
  if (!no_kernel_swap.empty()) report.skipped("sequential swap-in, against the kernel's", no_kernel_swap);
}

void compare_random_swap_in(const Settings& settings, Report& report) {
  constexpr std::size_t kTouches = 4096, kBlock = 32;
  RawFile raw(settings.directory, kGuest);
  PlainMapping buffer(kGuest, Pages::small);
  fill_incompressible(buffer.memory(), 99);
  raw.write_all(buffer.memory(), kWriteDepth);
  MinimalLoop loop(kGuest);
  auto host = make_host(swap_host(settings));
  auto guest = make_guest(host, kGuest, Pages::huge, true);
  fill_incompressible(guest.memory(), 1);
  push_out(guest);
  const auto order = shuffled(kGuest / kPageSize, 17);
  const BoundThreads threads(BoundThreads::Where::same_processor);
  Samples ours, reads, faults;
  const auto timed = [](Samples& samples, auto&& work) {
    const double begin = now_seconds();
    work();
    samples.add(now_seconds() - begin);
  };
  for (std::size_t block = 0; block < kTouches; block += kBlock) {
    for (int k = 0; k < 3; ++k) {
      const auto which = (static_cast<std::size_t>(k) + block / kBlock) % 3;
      for (auto i = block; i < block + kBlock; ++i) {
        const auto offset = order[i] * kPageSize;
        if (which == 0) timed(ours, [&] { static_cast<void>(*(volatile std::byte*)(guest.memory().data() + offset)); });
        if (which == 1) timed(reads, [&] { raw.read_page(order[i], buffer.memory().data()); });
        if (which == 2)
          timed(faults, [&] { static_cast<void>(*(volatile std::byte*)(loop.memory().data() + offset)); });
      }
    }
  }
  const double bound = reads.median() + 1.5 * faults.median();
  report.at_most("random swap-in p50 / (raw read + 1.5 minimal loop)", ours.median() / bound, 1.0,
                 text("p50 %.1f us, raw read %.1f, minimal loop %.1f; p99 %.1f, %.1f, %.1f", ours.median() * 1e6,
                      reads.median() * 1e6, faults.median() * 1e6, ours.quantile(0.99) * 1e6,
                      reads.quantile(0.99) * 1e6, faults.quantile(0.99) * 1e6));
}

}  // namespace vmm::bench
