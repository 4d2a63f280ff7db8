#include "sharing/frame_store.h"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "base/check.h"

namespace vmm::sharing {
namespace {

constexpr std::uint64_t kBits = 64;
// Free pieces that one search looks at: others wait for it.
constexpr int kMostLooks = 4096;

std::uint64_t words_for(std::uint64_t frames) { return (frames + kBits - 1) / kBits; }
std::uint64_t* words_of(const os::Mapping& used) { return reinterpret_cast<std::uint64_t*>(used.data()); }

// With a page of its own, for a moment, the kernel gives the mapping what each copy would have to be given by the first
// write there (an anon_vma): a third of that write's time.
Result<os::Mapping> make_template(const os::MemoryFile& file, std::uint64_t bytes) {
  auto made = os::Mapping::private_template(file.fd(), bytes);
  if (!made) return made;
  static_cast<void>(os::advise_huge_pages(made->data(), bytes, false));
  if (os::populate_for_write(made->data(), kPageSize) == 0) os::drop_pages(made->data(), kPageSize);
  static_cast<void>(file.free(0, kPageSize));
  return made;
}

}  // namespace

Result<std::unique_ptr<FrameStore>> FrameStore::create(int node, std::uint64_t most_frames, region::Credit& credit) {
  const auto bytes = most_frames * kPageSize;
  auto file = os::MemoryFile::create("vmm-frames/" + std::to_string(node), bytes);
  if (!file) return tl::unexpected(file.error());
  auto view = os::Mapping::shared_file(file->fd(), bytes);
  if (!view) return tl::unexpected(view.error());
  auto all = make_template(*file, bytes);
  if (!all) return tl::unexpected(all.error());
  auto counts = os::Mapping::anonymous(most_frames * sizeof(std::atomic<std::uint32_t>));
  if (!counts) return tl::unexpected(counts.error());
  auto used = os::Mapping::anonymous(words_for(most_frames) * sizeof(std::uint64_t));
  if (!used) return tl::unexpected(used.error());
  static_cast<void>(os::exclude_from_core_dumps(view->data(), bytes));
  // Of a huge page no part could be given back.
  static_cast<void>(os::advise_huge_pages(view->data(), bytes, false));
  // The policy of a memory file's mapping is the file's: it holds for pages that others touch first, too.
  static_cast<void>(os::bind_to_node(view->data(), bytes, node, os::NodePolicy::preferred));
  return std::unique_ptr<FrameStore>(new FrameStore(node, most_frames, credit, std::move(*file), std::move(*view),
                                                    std::move(*all), std::move(*counts), std::move(*used)));
}

FrameStore::FrameStore(int node, std::uint64_t capacity, region::Credit& credit, os::MemoryFile file, os::Mapping view,
                       os::Mapping all, os::Mapping counts, os::Mapping used) noexcept
    : node_(node),
      capacity_(capacity),
      credit_(credit),
      may_be_huge_(os::MemoryFile::may_be_huge()),
      file_(std::move(file)),
      view_(std::move(view)),
      template_(std::move(all)),
      counts_(std::move(counts)),
      used_(std::move(used)) {}

std::atomic<std::uint32_t>& FrameStore::count_of(std::uint64_t frame) const noexcept {
  return reinterpret_cast<std::atomic<std::uint32_t>*>(counts_.data())[frame];
}

std::uint32_t FrameStore::references(std::uint64_t frame) const noexcept {
  return count_of(frame).load(std::memory_order_acquire);
}

void FrameStore::mark(FrameRun run, bool used) {
  for (std::uint64_t f = run.first; f < run.first + run.count; ++f) {
    auto& word = words_of(used_)[f / kBits];
    const auto bit = std::uint64_t{1} << f % kBits;
    word = used ? word | bit : word & ~bit;
  }
}

// From there on; the capacity if there is none.
std::uint64_t FrameStore::next_free(std::uint64_t from) const {
  while (from < capacity_) {
    const auto taken = words_of(used_)[from / kBits] >> from % kBits;
    const auto ones = static_cast<std::uint64_t>(std::countr_one(taken));
    if (ones + from % kBits >= kBits) {
      from = (from / kBits + 1) * kBits;
      continue;
    }
    return std::min(from + ones, capacity_);
  }
  return capacity_;
}

std::uint64_t FrameStore::free_from(std::uint64_t frame, std::uint64_t most) const {
  std::uint64_t count = 0;
  while (count < most && frame + count < capacity_) {
    const auto at = frame + count, left = kBits - at % kBits;
    const auto taken = words_of(used_)[at / kBits] >> at % kBits;
    const auto free = taken == 0 ? left : static_cast<std::uint64_t>(std::countr_zero(taken));
    count += free;
    if (free < left) break;
  }
  return std::min({count, most, capacity_ - std::min(frame, capacity_)});
}

// All that is wanted in one piece, else the largest piece of those that were looked at.
FrameRun FrameStore::find(std::uint64_t wanted, std::optional<std::uint64_t> next) const {
  if (next && free_from(*next, wanted) == wanted) return {*next, wanted};
  FrameRun best;
  auto looks = kMostLooks;
  for (const auto& [from, end] : {std::pair{cursor_, capacity_}, std::pair{std::uint64_t{0}, cursor_}}) {
    for (auto f = next_free(from); f < end && best.count < wanted && looks > 0; f = next_free(f), --looks) {
      const auto count = free_from(f, wanted);
      if (count > best.count) best = {f, count};
      f += count;
    }
  }
  return best;
}

std::optional<FrameRun> FrameStore::allocate(std::uint64_t wanted, std::optional<std::uint64_t> next) noexcept {
  FrameRun run;
  {
    base::MutexLock lock(mutex_);
    run = find(wanted, next);
    if (run.count == 0) return std::nullopt;
    mark(run, true);
    cursor_ = run.first + run.count;
  }
  credit_.count_of_files(static_cast<std::int64_t>(run.count));
  credit_.charge(run.count);  // what it takes the place of is in memory, and charged
  for (std::uint64_t f = run.first; f < run.first + run.count; ++f) count_of(f).store(1, std::memory_order_release);
  in_use_.fetch_add(run.count, std::memory_order_relaxed);
  changes_.fetch_add(1, std::memory_order_release);
  return run;
}

int FrameStore::fill(FrameRun run, const std::byte* bytes) noexcept {
  if (const int e = write(run, bytes)) return e;
  // What mlockall(MCL_CURRENT) has filled the template with before is what the file held then. From here on it is what
  // the frames hold, for as long as somebody has them.
  return os::drop_pages(template_.data() + run.first * kPageSize, run.count * kPageSize);
}

int FrameStore::write(FrameRun run, const std::byte* bytes) const noexcept {
  // The mapping forbids them, so its pages are made first.
  if (may_be_huge_)
    if (const int e = os::populate_for_write(this->bytes(run.first), run.count * kPageSize)) return e;
  // Not through the mapping: mlockall(), which is copying a page just then, has locked it until its copy is where
  // fill() finds it.
  return file_.write(run.first * kPageSize, bytes, run.count * kPageSize);
}

void FrameStore::hold(FrameRun run) noexcept {
  for (std::uint64_t f = run.first; f < run.first + run.count; ++f)
    VMM_CHECK(count_of(f).fetch_add(1, std::memory_order_acq_rel) != 0);
  changes_.fetch_add(1, std::memory_order_release);
}

bool FrameStore::try_hold(std::uint64_t frame) noexcept {
  auto& count = count_of(frame);
  auto before = count.load(std::memory_order_acquire);
  while (before != 0)
    if (count.compare_exchange_weak(before, before + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
      changes_.fetch_add(1, std::memory_order_release);
      return true;
    }
  return false;
}

int FrameStore::release(FrameRun run) noexcept {
  if (os::fork_count() != forks_) return 0;
  int error = 0;
  FrameRun unused;  // at the end of what was looked at
  for (std::uint64_t f = run.first; f < run.first + run.count; ++f) {
    const auto before = count_of(f).fetch_sub(1, std::memory_order_acq_rel);
    VMM_CHECK(before != 0);
    if (before == 1 && unused.count > 0) ++unused.count;
    else if (before == 1) unused = {f, 1};
    if ((before == 1 && f + 1 < run.first + run.count) || unused.count == 0) continue;
    if (const int e = give_back(unused)) error = e;
    unused = {};
  }
  changes_.fetch_add(1, std::memory_order_release);
  releases_.fetch_add(1, std::memory_order_release);
  return error;
}

// First the memory, then the numbers.
int FrameStore::give_back(FrameRun run) noexcept {
  in_use_.fetch_sub(run.count, std::memory_order_relaxed);
  if (const int e = file_.free(run.first * kPageSize, run.count * kPageSize)) {
    lost_.fetch_add(run.count, std::memory_order_relaxed);
    return e;
  }
  credit_.release(run.count);
  credit_.count_of_files(-static_cast<std::int64_t>(run.count));
  base::MutexLock lock(mutex_);
  mark(run, false);
  return 0;
}

int FrameStore::show(std::byte* place, FrameRun run, bool core_dump) const noexcept {
  const auto bytes = run.count * kPageSize;
  const int e = template_.copy_onto(place, run.first * kPageSize, bytes);
  if (e == 0 && core_dump) static_cast<void>(os::include_in_core_dumps(place, bytes));
  return e;
}

}  // namespace vmm::sharing
