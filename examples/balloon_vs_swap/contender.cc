#include "balloon_vs_swap/contender.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

namespace balloon_vs_swap {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kJobPiece = 65536;
// A quarter of HostOptions::balloon_timeout.
constexpr std::chrono::milliseconds kPatience{250};

double since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

}  // namespace

const char* to_string(Way way) noexcept {
  switch (way) {
    case Way::balloon: return "balloon";
    case Way::swap: return "swap";
    case Way::born: return "born";
  }
  return "?";
}

vmm::Result<vmm::Host> make_host(std::uint64_t guest, const std::string& swap_directory) {
  vmm::HostOptions options;
  options.memory = 4 * guest;
  options.swap_directory = swap_directory;
  options.management = vmm::Management::at_creation;
  return vmm::Host::create(options);
}

vmm::Result<std::unique_ptr<Contender>> Contender::create(vmm::Host& host, BlockFile& file, Way way,
                                                          std::uint64_t memory, std::uint64_t taken) {
  std::unique_ptr<Contender> c(new Contender(file, way, memory, taken));
  vmm::GuestOptions options;
  options.name = to_string(way);
  options.memory = way == Way::born ? memory - taken : memory;
  auto guest = host.create_guest(options);
  if (!guest) return tl::unexpected(guest.error());
  c->guest_ = std::move(*guest);
  auto heap = vmm::Heap::create(c->guest_);
  if (!heap) return tl::unexpected(heap.error());
  c->heap_ = std::move(*heap);
  c->cache_ = std::make_unique<BlockCache>(c->heap_, file, memory / 6 * 5);
  if (way == Way::balloon) {
    c->heap_.on_pressure([cache = c->cache_.get()](std::uint64_t bytes) { cache->shrink(bytes, kPatience); });
    if (const auto set = c->guest_.set_balloon(c->heap_.balloon_driver()); !set) return tl::unexpected(set.error());
  }
  return c;
}

Contender::~Contender() {
  if (guest_) static_cast<void>(guest_.set_balloon(nullptr));
  if (heap_) heap_.on_pressure({});  // the cache goes before the heap that it is in
}

void Contender::use_one() {
  // Blocks at the front are wanted more often than those at the back.
  const double x = std::uniform_real_distribution<double>(0, 1)(random_);
  cache_->use(static_cast<std::uint64_t>(x * x * static_cast<double>(file_.blocks())));
}

void Contender::load() {
  for (std::uint64_t i = 0; i < 2 * file_.blocks(); ++i) use_one();
  std::vector<void*> pieces;
  while (void* const piece = heap_.allocate(kJobPiece)) {
    std::memset(piece, 1, kJobPiece);
    pieces.push_back(piece);
  }
  for (void* const piece : pieces) heap_.free(piece);
}

vmm::Result<double> Contender::take() {
  if (way_ == Way::born || taken_ == 0) return 0.0;
  const auto begin = Clock::now();
  vmm::GuestChange change;
  change.limit = memory_ - taken_;
  if (const auto changed = guest_.configure(change); !changed) return tl::unexpected(changed.error());
  for (;;) {
    const auto stats = guest_.stats();
    if (!stats) return tl::unexpected(stats.error());
    if (stats->resident <= *change.limit) return since(begin);
    if (since(begin) > 60)
      return tl::unexpected(vmm::Error{std::make_error_code(std::errc::timed_out), "taking memory from the guest", ""});
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

double Contender::work(double seconds) {
  const auto begin = Clock::now();
  std::uint64_t operations = 0;
  while (operations % 16 != 0 || since(begin) < seconds) {
    use_one();
    ++operations;
  }
  return static_cast<double>(operations) / since(begin);
}

}  // namespace balloon_vs_swap
