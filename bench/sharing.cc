// Equal pages: found and shared by the library in two guests, and merged by the kernel (KSM, opened up) in plain memory
// that holds the same. Processor time for each page saved, and for one more look at what has not changed.
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "comparisons.h"
#include "support/hosts.h"
#include "support/ksm.h"
#include "support/measure.h"

namespace vmm::bench {
namespace {

constexpr std::uint64_t kBytes = 64 * MiB, kPages = kBytes / kPageSize;  // of each of two guests
constexpr int kTimes = 3;
constexpr double kPatience = 60;  // seconds, for ksmd

// What each page holds: pages of equal numbers are equal; 0 is a page of zeros.
using Contents = std::vector<std::uint64_t>;

// Runs of `length` pages that both hold, in another order in the second.
std::pair<Contents, Contents> runs_of(std::uint64_t length) {
  Contents first(kPages), second(kPages);
  std::iota(first.begin(), first.end(), 1);
  std::vector<std::uint64_t> order(kPages / length);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
  for (std::uint64_t i = 0; i < kPages; ++i) second[i] = 1 + order[i / length] * length + i % length;
  return {first, second};
}

std::pair<Contents, Contents> clones() {
  auto [first, second] = runs_of(kPages);
  std::rotate(second.begin(), second.end() - 3, second.end());
  return {first, second};
}

// Nine of ten pages are of zeros, the others are like no other.
std::pair<Contents, Contents> mostly_zero() {
  Contents first(kPages), second(kPages);
  for (std::uint64_t i = 0; i < kPages; ++i) {
    first[i] = i % 10 == 0 ? 1 + i : 0;
    second[i] = i % 10 == 0 ? 1 + kPages + i : 0;
  }
  return {first, second};
}

std::pair<Contents, Contents> nothing_equal() {
  Contents first(kPages), second(kPages);
  std::iota(first.begin(), first.end(), 1);
  std::iota(second.begin(), second.end(), 1 + kPages);
  return {first, second};
}

void fill(std::span<std::byte> memory, const Contents& contents) {
  for (std::uint64_t page = 0; page < kPages; ++page) {
    auto* const words = reinterpret_cast<std::uint64_t*>(memory.data() + page * kPageSize);
    if (contents[page] == 0) {
      std::memset(words, 0, kPageSize);
      continue;
    }
    std::uint64_t x = contents[page] * 0x9e3779b97f4a7c15ULL;
    for (std::size_t i = 0; i < kPageSize / sizeof *words; ++i) {
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      words[i] = x;
    }
  }
}

// Of the process, all threads.
double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Found {
  double cpu = 0, again = 0;  // seconds of processor time: until all is found, and for one more look
  double saved = 0;           // pages
};

Found by_library(const Settings& settings, const std::pair<Contents, Contents>& contents) {
  HostOptions options;
  options.memory = 4 * kBytes;
  options.swap_directory = settings.directory;
  options.management = Management::at_creation;
  options.share_scan_ghz = 4;
  options.share_scan_time = std::chrono::hours(24);  // nothing by itself meanwhile
  auto host = make_host(options);
  std::vector<Guest> guests;
  for (const auto* held : {&contents.first, &contents.second}) {
    GuestOptions guest;
    guest.name = "g" + std::to_string(guests.size());
    guest.memory = guest.reservation = kBytes;
    guest.large_pages = false;
    guest.share_salt = "bench";
    guests.push_back(value_of(host.create_guest(guest)));
    fill(guests.back().memory(), *held);
  }
  settle();
  Found found;
  const double begin = cpu_seconds();
  const auto report = value_of(host.share_now());
  const double middle = cpu_seconds();
  value_of(host.share_now());
  found.cpu = middle - begin;
  found.again = cpu_seconds() - middle;
  found.saved = static_cast<double>(report.saved + report.zero) / kPageSize;
  return found;
}

class Plain {
 public:
  explicit Plain(const Contents& contents) {
    void* const at = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw std::runtime_error("mmap");
    memory_ = {static_cast<std::byte*>(at), kBytes};
    ::madvise(at, kBytes, MADV_NOHUGEPAGE);
    fill(memory_, contents);
    if (::madvise(at, kBytes, MADV_MERGEABLE) != 0) throw std::runtime_error("madvise(MADV_MERGEABLE)");
  }
  ~Plain() { ::munmap(memory_.data(), memory_.size()); }
  Plain(const Plain&) = delete;
  Plain& operator=(const Plain&) = delete;

 private:
  std::span<std::byte> memory_;
};

// Until it has looked at all pages of both so many times, and then finds no more.
void wait_for_looks(const Ksm& ksm, std::uint64_t times) {
  const double end = now_seconds() + kPatience;
  const auto until = ksm.looked() + times * 2 * kPages;
  while (ksm.looked() < until) {
    if (now_seconds() > end) throw std::runtime_error("ksmd does not look at all pages");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

Found by_kernel(Ksm& ksm, const std::pair<Contents, Contents>& contents) {
  ksm.unmerge();
  const Plain first(contents.first), second(contents.second);
  settle();
  Found found;
  const double begin = ksm.cpu_seconds();
  const auto saved = [&] { return ksm.merged() + ksm.zeros(); };
  ksm.on();
  // A page is merged when its checksum was the same twice, with what a whole scan has seen.
  wait_for_looks(ksm, 3);
  for (auto before = ~std::uint64_t{0}; before != saved();) {
    before = saved();
    wait_for_looks(ksm, 1);
  }
  const double middle = ksm.cpu_seconds();
  wait_for_looks(ksm, 1);
  found.again = ksm.cpu_seconds() - middle;
  ksm.off();
  found.cpu = middle - begin;
  found.saved = static_cast<double>(saved());
  return found;
}

void compare(const Settings& settings, Ksm& ksm, Report& report, const std::string& what,
             const std::pair<Contents, Contents>& contents, double bound, double bound_again) {
  Samples ours, peer, ours_again, peer_again, saved, peer_saved;
  const auto add_found = [&](const Found& found, Samples& cpu, Samples& again, Samples& pages) {
    cpu.add(found.cpu * 1e6 / std::max(found.saved, 1.0));
    again.add(found.again * 1e3);
    pages.add(found.saved);
  };
  for (int i = 0; i < kTimes; ++i) {
    const auto library = [&] { add_found(by_library(settings, contents), ours, ours_again, saved); };
    if (i % 2 == 0) library();
    add_found(by_kernel(ksm, contents), peer, peer_again, peer_saved);
    if (i % 2 != 0) library();
  }
  const auto pages = text("%.0f and %.0f of %" PRIu64 " pages saved", saved.median(), peer_saved.median(), 2 * kPages);
  if (bound > 0)
    report.at_most("sharing, " + what + ": processor time a page saved / KSM's", ours.median() / peer.median(), bound,
                   text("%.2f and %.2f us; ", ours.median(), peer.median()) + pages);
  const auto again = text("%.1f and %.1f ms for 128 MiB; ", ours_again.median(), peer_again.median()) + pages;
  if (bound_again > 0)
    report.at_most("sharing, " + what + ": one more look / KSM's", ours_again.median() / peer_again.median(),
                   bound_again, again);
  else
    report.note("sharing, " + what + ": one more look / KSM's", ours_again.median() / peer_again.median(), again);
}

}  // namespace

void compare_sharing(const Settings& settings, Report& report) {
  std::unique_ptr<Ksm> ksm;
  try {
    ksm = std::make_unique<Ksm>(settings.program);
    ksm->set_unbounded();
  } catch (const std::exception& e) {
    report.skipped("sharing", e.what());
    return;
  }
  compare(settings, *ksm, report, "scattered pages", runs_of(1), 0.5, 0.05);
  compare(settings, *ksm, report, "runs of 8", runs_of(8), 0.2, 0.05);
  compare(settings, *ksm, report, "runs of 64", runs_of(64), 0.2, 0.05);
  compare(settings, *ksm, report, "clones at other places", clones(), 0.2, 0.05);
  compare(settings, *ksm, report, "nine of ten zeros", mostly_zero(), 0.2, 0);
  compare(settings, *ksm, report, "nothing equal", nothing_equal(), 0, 0.05);
}

}  // namespace vmm::bench
