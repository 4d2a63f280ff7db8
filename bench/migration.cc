// Memory that follows a guest to another node: its rate unlimited, against move_pages() of the same pages by the least
// that a program can do; and as hosts are by default, while a thread of the guest writes.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "comparisons.h"
#include "migrate/guest_migration.h"
#include "os/page_nodes.h"
#include "os/pagemap.h"
#include "region/guest_memory.h"
#include "support/hosts.h"
#include "support/measure.h"
#include "support/memory.h"
#include "topology/topology.h"

namespace vmm::bench {
namespace {

constexpr std::uint64_t kBytes = 64 * MiB;
constexpr int kTurns = 12;
constexpr double kMostToFollow = 30, kPatience = 120;  // seconds

// A guest that is native: nobody answers faults here.
std::unique_ptr<region::GuestMemory> guest_on(int node, Pages pages, region::Credit& credit,
                                              const os::Pagemap& pagemap) {
  region::GuestMemoryOptions o;
  o.name = "bench";
  o.pages = kBytes / kPageSize;
  o.node = node;
  o.large_pages = pages == Pages::huge;
  o.userfaultfd = false;
  return value_of(region::GuestMemory::create(o, credit, pagemap));
}

void move_raw(std::span<std::byte> memory, int node, std::uint64_t step) {
  std::array<void*, os::kMostPagesAsked> pages;
  std::array<int, os::kMostPagesAsked> status;
  for (std::uint64_t at = 0; at < memory.size();) {
    std::size_t count = 0;
    for (; count < pages.size() && at < memory.size(); at += step) pages[count++] = memory.data() + at;
    const int error = os::move_pages_to(pages.data(), count, node, status.data());
    if (error != 0 && error != EAGAIN) throw std::runtime_error("move_pages: errno " + std::to_string(error));
  }
}

void move_guest(region::GuestMemory& guest, migrate::GuestMigration& migration, int node) {
  if (!guest.set_home(node)) throw std::runtime_error("mbind");
  migration.begin(node);
  while (migration.under_way()) migration.step(std::chrono::steady_clock::now().time_since_epoch());
}

// A thread of the guest that adds to a word of each page in turn until it ends.
class Writer {
 public:
  explicit Writer(Guest& guest) : words_(guest.memory().size() / kPageSize), thread_([this, &guest] { run(guest); }) {
    seated_.wait(false);
  }
  ~Writer() { stop(); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  void stop() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }
  // After stop(): pages that do not hold what was added to them.
  std::uint64_t wrong(const Guest& guest) const {
    std::uint64_t count = 0;
    for (std::size_t page = 0; page < words_.size(); ++page) count += *word(guest, page) != words_[page];
    return count;
  }

 private:
  static std::uint64_t* word(const Guest& guest, std::size_t page) {
    return reinterpret_cast<std::uint64_t*>(guest.memory().data() + page * kPageSize);
  }
  void run(Guest& guest) {
    const auto seat = guest.attach_current_thread();
    seated_ = true;
    seated_.notify_all();
    for (std::size_t page = 0; !over_; page = (page + 61) % words_.size()) {
      std::atomic_ref<std::uint64_t>(*word(guest, page)).fetch_add(1, std::memory_order_relaxed);
      ++words_[page];
    }
  }

  std::vector<std::uint64_t> words_;
  std::atomic<bool> over_{false}, seated_{false};
  std::thread thread_;
};

void compare_following(const Settings& settings, const std::vector<int>& homes, Report& report) {
  const std::string name = "migration, 64 MiB whose thread writes: seconds until 99 % have followed";
  if (homes.size() < 2) {
    report.skipped(name, "this machine has one node with processors");
    return;
  }
  HostOptions options;
  options.memory = 3 * kBytes;
  options.swap_directory = settings.directory;
  options.management = Management::at_creation;
  auto host = make_host(options);
  auto guest = make_guest(host, kBytes, Pages::small);
  touch_all(guest.memory());
  for (std::size_t at = 0; at < kBytes; at += kPageSize)
    *reinterpret_cast<std::uint64_t*>(guest.memory().data() + at) = 0;
  Writer writer(guest);
  const int to = value_of(guest.stats()).home_node == homes[0] ? homes[1] : homes[0];
  const double taken = seconds([&] {
    value_of(guest.rehome(to));
    const double end = now_seconds() + kPatience;
    while (value_of(guest.stats()).migrated < kBytes / 100 * 99 && now_seconds() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
  });
  writer.stop();
  if (const auto wrong = writer.wrong(guest); wrong != 0)
    throw std::runtime_error(text("%" PRIu64 " pages are not as they were written", wrong));
  report.at_most(name, taken, kMostToFollow, text("to node %d", to));
}

}  // namespace

void compare_migration(const Settings& settings, Report& report) {
  const auto topology = value_of(topology::Topology::discover());
  std::vector<int> homes;
  for (const auto& node : topology.nodes())
    if (!node.memory_only) homes.push_back(node.id);
  for (const auto pages : {Pages::small, Pages::huge}) {
    const auto name = text("migration, %s pages: raw move_pages / library", to_string(pages));
    if (homes.size() < 2) {
      report.skipped(name, "this machine has one node with processors");
      continue;
    }
    const int a = homes[0], b = homes[1];
    region::Credit credit(kBytes / kPageSize);
    const auto pagemap = value_of(os::Pagemap::open(probe(settings.directory).level == CapabilityLevel::full));
    auto guest = guest_on(a, pages, credit, pagemap);
    const std::span<std::byte> memory(guest->base(), kBytes);
    touch_all(memory);
    migrate::GuestMigration migration(*guest);
    migration.set_rate(std::uint64_t{1} << 50);
    const bool huge = read_smaps(memory).huge > kBytes / 2;
    int to = b;
    const auto turn_back = [&] { to = to == a ? b : a; };
    // Of a huge page one address stands for all of it: for both.
    const auto pair = take_turns(
        kTurns,
        [&] {
          const double s = seconds([&] { move_guest(*guest, migration, to); });
          turn_back();
          return s;
        },
        [&] {
          const double s = seconds([&] { move_raw(memory, to, huge ? kHugePageSize : kPageSize); });
          turn_back();
          return s;
        });
    report.at_least(name, 1 / pair.ratio(), 0.9,
                    text("%.0f MB/s; raw %.0f MB/s; stayed in the last pass: %llu pages",
                         kBytes / 1e6 / pair.ours.median(), kBytes / 1e6 / pair.peer.median(),
                         static_cast<unsigned long long>(migration.pass().stayed())));
  }
  compare_following(settings, homes, report);
}

}  // namespace vmm::bench
