// Equal pages: found and shared by the library in two guests, and merged by the kernel (KSM, opened up) in plain memory
// that holds the same. Processor time for each page saved, and for one more look at what has not changed.
#include <sys/mman.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "comparisons.h"
#include "page_sharing/distinct_pages.h"
#include "sharing_images.h"
#include "support/bare_sharing.h"
#include "support/hosts.h"
#include "support/ksm.h"
#include "support/measure.h"
#include "support/memory.h"
#include "support/memory_cgroup.h"

namespace vmm::bench {
namespace {

constexpr int kTimes = 3;
constexpr double kPatience = 60;  // seconds, for ksmd

std::uint64_t bytes_of(const Images& images) {
  std::uint64_t bytes = 0;
  for (const auto& image : images) bytes += image.size();
  return bytes;
}

// What sharing can save of them at most, in pages.
double most_of(const Images& images) {
  page_sharing::DistinctPages pages;
  for (const auto& image : images) pages.add(image);
  return static_cast<double>(pages.count().spare()) / kPageSize;
}

// This process is in a control group of its own meanwhile, if there may be one.
class Counted {
 public:
  Counted() : group_(MemoryCgroup::create(reason_)) {
    if (group_ != nullptr) group_->enter();
  }
  ~Counted() {
    if (group_ != nullptr) group_->leave();
  }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  // Pages, from now on charged to the group, or 0.
  double charged() const { return group_ == nullptr ? 0 : static_cast<double>(group_->usage()) / kPageSize; }

 private:
  std::string reason_;
  std::unique_ptr<MemoryCgroup> group_;
};

// Pages that this process has, each divided by how often it is mapped.
double proportional() { return static_cast<double>(read_smaps().pss) / kPageSize; }

struct Found {
  double cpu = 0, again = 0;  // seconds of processor time: until all is found, and for one more look
  double again_read = 0;      // the same after all has been read
  double saved = 0;           // pages
  // By how much the memory of the process has become less meanwhile, in pages: as its control group counts, 0 where it
  // has none, and by its mappings.
  double group_fall = 0, mapped_fall = 0;
};

// The kernel maps what is read.
void read_all(std::span<const std::byte> memory) {
  for (std::size_t at = 0; at < memory.size(); at += kPageSize)
    static_cast<void>(*static_cast<const volatile std::byte*>(memory.data() + at));
}

Found by_library(const Settings& settings, const Images& images) {
  const Counted counted;
  HostOptions options;
  options.memory = 2 * bytes_of(images);
  options.swap_directory = settings.directory;
  options.management = Management::at_creation;
  options.share_scan_ghz = 4;
  options.share_scan_time = std::chrono::hours(24);  // nothing by itself meanwhile
  auto host = make_host(options);
  std::vector<Guest> guests;
  for (const auto& image : images) {
    GuestOptions guest;
    guest.name = "g" + std::to_string(guests.size());
    guest.memory = guest.reservation = image.size();
    guest.large_pages = false;
    guest.share_salt = "bench";
    guests.push_back(value_of(host.create_guest(guest)));
    std::memcpy(guests.back().memory().data(), image.data(), image.size());
  }
  settle();
  Found found;
  const double group_before = counted.charged(), mapped_before = proportional();
  const double begin = cpu_seconds(RUSAGE_SELF);
  const auto report = value_of(host.share_now());
  found.cpu = cpu_seconds(RUSAGE_SELF) - begin;
  const auto look_again = [&] {
    const double middle = cpu_seconds(RUSAGE_SELF);
    value_of(host.share_now());
    return cpu_seconds(RUSAGE_SELF) - middle;
  };
  Samples again;
  for (int i = 0; i < kTimes; ++i) again.add(look_again());
  found.again = again.median();
  settle();
  found.group_fall = group_before - counted.charged();
  // What guests have not read since is in no page table, and would not count.
  for (auto& guest : guests) read_all(guest.memory());
  found.mapped_fall = mapped_before - proportional();
  found.again_read = look_again();
  found.saved = static_cast<double>(report.saved) / kPageSize;
  return found;
}

// Plain memory that the kernel may merge.
class Plain {
 public:
  explicit Plain(const Image& image) : mapping_(image.size(), Pages::small) {
    const auto memory = mapping_.memory();
    std::memcpy(memory.data(), image.data(), image.size());
    if (::madvise(memory.data(), memory.size(), MADV_MERGEABLE) != 0)
      throw std::runtime_error("madvise(MADV_MERGEABLE)");
  }

 private:
  PlainMapping mapping_;
};

// Until it has looked at that many pages.
void wait_for_looks(const Ksm& ksm, std::uint64_t pages) {
  const double end = now_seconds() + kPatience;
  const auto until = ksm.looked() + pages;
  while (ksm.looked() < until) {
    if (now_seconds() > end) throw std::runtime_error("ksmd does not look at all pages");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

Found by_kernel(Ksm& ksm, const Images& images) {
  ksm.unmerge();
  std::deque<Plain> plain;
  for (const auto& image : images) plain.emplace_back(image);
  const auto pages = bytes_of(images) / kPageSize;
  settle();
  Found found;
  const double begin = ksm.cpu_seconds();
  const auto saved = [&] { return ksm.merged() + ksm.zeros(); };
  ksm.on();
  // A page is merged when its checksum was the same twice, with what a whole scan has seen.
  wait_for_looks(ksm, 3 * pages);
  for (auto before = ~std::uint64_t{0}; before != saved();) {
    before = saved();
    wait_for_looks(ksm, pages);
  }
  const double middle = ksm.cpu_seconds();
  wait_for_looks(ksm, pages);
  found.again = ksm.cpu_seconds() - middle;
  ksm.off();
  found.cpu = middle - begin;
  found.saved = static_cast<double>(saved());
  return found;
}

struct Bounds {
  double cpu = 0, again = 0;         // at most, of KSM's; 0: none
  double saved = 0, given_back = 0;  // at least, of what can be saved; 0: not told
};

// Returns what KSM takes for a page, in us.
double compare(const Settings& settings, Ksm& ksm, Report& report, const std::string& what, const Images& images,
               const Bounds& bounds) {
  Samples ours, peer, ours_again, ours_again_read, peer_again, saved, peer_saved, group_fall, mapped_fall;
  const auto add_found = [&](const Found& found, Samples& cpu, Samples& again, Samples& pages) {
    cpu.add(found.cpu * 1e6 / std::max(found.saved, 1.0));
    again.add(found.again * 1e3);
    pages.add(found.saved);
  };
  for (int i = 0; i < kTimes; ++i) {
    const auto library = [&] {
      const auto found = by_library(settings, images);
      add_found(found, ours, ours_again, saved);
      ours_again_read.add(found.again_read * 1e3);
      group_fall.add(found.group_fall);
      mapped_fall.add(found.mapped_fall);
    };
    if (i % 2 == 0) library();
    add_found(by_kernel(ksm, images), peer, peer_again, peer_saved);
    if (i % 2 != 0) library();
  }
  const auto name = "sharing, " + what + ": ";
  const auto pages = text("%.0f and %.0f of %" PRIu64 " pages saved", saved.median(), peer_saved.median(),
                          bytes_of(images) / kPageSize);
  if (bounds.cpu > 0)
    report.at_most(name + "processor time a page saved / KSM's", ours.median() / peer.median(), bounds.cpu,
                   text("%.2f and %.2f us; ", ours.median(), peer.median()) + pages);
  const auto again =
      text("%.1f and %.1f ms for %" PRIu64 " MiB; ", ours_again.median(), peer_again.median(), bytes_of(images) / MiB) +
      pages;
  if (bounds.again > 0)
    report.at_most(name + "one more look / KSM's", ours_again.median() / peer_again.median(), bounds.again, again);
  else
    report.note(name + "one more look / KSM's", ours_again.median() / peer_again.median(), again);
  report.note(name + "the same after guests have read everything", ours_again_read.median() / peer_again.median(),
              text("%.1f and %.1f ms", ours_again_read.median(), peer_again.median()));
  if (bounds.saved == 0) return peer.median();
  const double most = most_of(images);
  report.at_least(name + "saved / what can be", saved.median() / most, bounds.saved,
                  text("%.0f pages; %.0f are like another or of zeros; KSM %.3f", saved.median(), most,
                       peer_saved.median() / most));
  const bool grouped = group_fall.median() > 0;
  report.at_least(name + "memory given back / what can be", (grouped ? group_fall : mapped_fall).median() / most,
                  bounds.given_back,
                  (grouped ? text("%.0f pages by the control group, ", group_fall.median()) : std::string()) +
                      text("%.0f by what the process maps; of %.0f", mapped_fall.median(), most));
  return peer.median();
}

// How near to the first bound anything can come that shows such runs by mappings.
void tell_bare_calls(Report& report, const std::string& what, std::uint64_t run, double peer) {
  const std::string name = "sharing, " + what + ": the kernel's calls alone / KSM's";
  try {
    constexpr std::uint64_t kPages = 64 * MiB / kPageSize;
    Samples bare;
    for (int i = 0; i < kTimes; ++i) bare.add(bare_sharing_seconds(kPages, run) * 1e6 / kPages);
    report.note(name, bare.median() / peer, text("%.2f and %.2f us a page", bare.median(), peer));
  } catch (const std::runtime_error& e) {
    report.skipped(name, e.what());
  }
}

// What real guests hold: kernels, page caches, data of their own.
void compare_real_guests(const Settings& settings, Ksm& ksm, Report& report) {
  const std::string what = "real guest images";
  try {
    compare(settings, ksm, report, what, real_guests(), {0.2, 0.05, 0.99, 0.97});
  } catch (const NoImages& e) {
    report.skipped("sharing, " + what, e.what());
  }
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
  const auto compare_runs = [&](const std::string& what, std::uint64_t run, double bound) {
    tell_bare_calls(report, what, run, compare(settings, *ksm, report, what, runs_of(run), {bound, 0.05}));
  };
  compare_runs("scattered pages", 1, 0.5);
  compare_runs("runs of 8", 8, 0.2);
  compare_runs("runs of 64", 64, 0.2);
  compare(settings, *ksm, report, "clones at other places", clones(), {0.2, 0.05});
  compare(settings, *ksm, report, "nine of ten zeros", mostly_zero(), {0.2, 0});
  compare(settings, *ksm, report, "nothing equal", nothing_equal(), {0, 0.05});
  compare_real_guests(settings, *ksm, report);
}

}  // namespace vmm::bench
