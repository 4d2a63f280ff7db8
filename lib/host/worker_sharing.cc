// How a worker looks for equal pages of its guests: a little all the time, and all of it when it is asked to.
#include <algorithm>
#include <new>

#include "host/worker.h"
#include "os/affinity.h"
#include "policy/share_rate.h"

namespace vmm::host {
namespace {

// Fewer are not worth a look; more would keep others waiting.
constexpr std::uint64_t kLeastPages = 64, kStepPages = 256;
constexpr std::uint64_t kAskedPages = 1024;
// What is written after it was shared takes memory that nobody has charged, until it is found: looked for now and then,
// and as soon as the process has grown by more than guests were charged for.
constexpr base::Nanos kBrokenPeriod = std::chrono::seconds(5), kGrowthPeriod = std::chrono::milliseconds(100);
constexpr std::int64_t kGrowth = 1024;  // pages
constexpr std::uint64_t kBrokenPages = 8192;
constexpr std::uint64_t kGivenUp = 256;
// After a time in which others had to be served it does not catch up with more than this.
constexpr base::Nanos kSaved = std::chrono::seconds(1);

// Counts the processor time that this thread takes meanwhile.
class CpuTime {
 public:
  explicit CpuTime(region::ShareCounters& counts) noexcept : counts_(counts), begin_(now()) {}
  ~CpuTime() { region::bump(counts_.cpu_ns, now() - begin_); }
  CpuTime(const CpuTime&) = delete;
  CpuTime& operator=(const CpuTime&) = delete;

 private:
  static std::uint64_t now() noexcept { return os::thread_cpu_ns(0).value_or(0); }
  region::ShareCounters& counts_;
  const std::uint64_t begin_;
};

}  // namespace

// Pages of the process that no guest is charged for. Those of the application are among them.
std::int64_t Worker::uncharged() const noexcept {
  return static_cast<std::int64_t>(sharing_.memory->pages() + credit_.of_files()) -
         static_cast<std::int64_t>(credit_.consumed());
}

// The process has grown by so much that no guest is charged for that some of it may have been written by guests since it
// was shared. Nothing is shared: not asked.
bool Worker::grown() noexcept {
  const bool any = std::any_of(members_.begin(), members_.end(), [&](const auto& m) {
    return shares(m) && load(m.evictor->guest().counters.shared) != 0;
  });
  if (!any) return false;
  const auto now = uncharged();
  const bool by_much = now - uncharged_ > kGrowth;
  // What was taken back is charged since, or it was the application's.
  if (by_much || now < uncharged_) uncharged_ = now;
  return by_much;
}

bool Worker::shares(const Member& member) const noexcept {
  const auto& guest = member.evictor->guest();
  return sharing_.sharer != nullptr && guest.frames != nullptr && guest.adopted();
}

void Worker::begin_sharing(Member& member) {
  auto& guest = member.evictor->guest();
  if (sharing_.sharer == nullptr || guest.frames == nullptr) return;
  sharing_.sharer->add(guest, member.salt);
  member.share_noted = true;
}

// What the rate of each guest permits by now. Returns the time until there is more to do.
base::Nanos Worker::share_some() noexcept {
  if (sharing_.sharer == nullptr) return base::Nanos::max();
  using Seconds = std::chrono::duration<double>;
  const auto now = clock_.now();
  const auto elapsed = std::clamp(now - last_share_, base::Nanos{}, kSaved);
  last_share_ = now;
  policy::ShareRateSnapshot s;
  s.scan_time = sharing_.rates->scan_time;
  s.most = sharing_.rates->most;
  s.bytes_per_second = sharing_.rates->bytes_per_second;
  for (const auto& member : members_)
    if (shares(member)) s.all_pages += member.evictor->guest().pages();
  const bool short_of_memory = arbiter_.state() != MemoryState::high;
  auto next = base::Nanos::max();
  const bool look_for_broken = grown();
  // Of one guest a look: requests are served between looks.
  Member *due = nullptr, *written = nullptr;
  for (auto& member : members_) {
    auto& guest = member.evictor->guest();
    // Another home's worker may have had no memory to note it.
    if (!member.share_noted) try {
        begin_sharing(member);
      } catch (const std::bad_alloc&) {
      }
    if (!shares(member)) continue;
    s.pages = guest.pages();
    s.fruitless = member.share_fruitless;
    const auto rate = policy::plan_share_rate(s);
    const auto least = static_cast<double>(std::min(kLeastPages, guest.pages()));
    member.share_credit = std::min(member.share_credit + rate * Seconds(elapsed).count(),
                                   std::max(rate * Seconds(kSaved).count(), least));
    const bool may = member.share_credit >= least && !member.share_due;
    if (may && (due == nullptr || member.share_credit > due->share_credit)) due = &member;
    if (rate > 0) {
      const auto wait = std::max(least - member.share_credit, 0.0) / rate;
      next = std::min(next, std::chrono::duration_cast<base::Nanos>(Seconds(std::min(wait, 3600.0))));
    }
    if (load(guest.counters.shared) == 0) continue;
    if (look_for_broken) member.next_broken = now;
    if (now >= member.next_broken && (written == nullptr || member.next_broken < written->next_broken))
      written = &member;
    next = std::min({next, kGrowthPeriod, std::max(member.next_broken - now, base::Nanos{})});
  }
  if (written != nullptr) {
    auto& guest = written->evictor->guest();
    const CpuTime time(guest.counters.share);
    if (sharing_.sharer->find_broken(guest, kBrokenPages)) written->next_broken = now + kBrokenPeriod;
  }
  if (due != nullptr) {
    auto& guest = due->evictor->guest();
    const CpuTime time(guest.counters.share);
    const auto pages = std::min(static_cast<std::uint64_t>(due->share_credit), kStepPages);
    due->share_credit -= static_cast<double>(pages);
    if (sharing_.sharer->step(guest, pages, short_of_memory)) end_look(*due);
  }
  return next;
}

// At all of the guest.
void Worker::end_look(Member& member) noexcept {
  auto& guest = member.evictor->guest();
  sharing_.sharer->tell_sharing(guest);
  const auto& counts = guest.counters.share;
  const auto found = load(counts.shared) + load(counts.zero);
  member.share_fruitless = found == member.share_found ? member.share_fruitless + 1 : 0;
  member.share_found = found;
}

// Nothing else is left to be taken: frames cannot be swapped, but pages of the guests' own can.
bool Worker::give_up_frames() noexcept {
  std::uint64_t given = 0;
  for (auto& member : members_)
    if (shares(member) && given == 0) given += sharing_.sharer->give_up(member.evictor->guest(), kGivenUp);
  return given > 0;
}

// One slice of a look at all pages of all guests. True when that is done.
bool Worker::share_slice(bool begin) noexcept {
  if (sharing_.sharer == nullptr) return true;
  auto& sharer = *sharing_.sharer;
  if (begin)
    for (auto& member : members_) {
      member.share_due = shares(member);
      sharer.restart(member.evictor->guest());
    }
  const bool short_of_memory = arbiter_.state() != MemoryState::high;
  for (auto& member : members_) {
    if (!member.share_due) continue;
    auto& guest = member.evictor->guest();
    const CpuTime time(guest.counters.share);
    if (sharer.step(guest, kAskedPages, short_of_memory)) member.share_due = false;
    return false;
  }
  for (auto& member : members_) {
    if (!shares(member)) continue;
    const CpuTime time(member.evictor->guest().counters.share);
    end_look(member);
  }
  return true;
}

// The same of an estimate. Throws std::bad_alloc.
bool Worker::estimate_slice(bool begin, sharing::ShareEstimator& estimator) {
  if (sharing_.sharer == nullptr) return true;
  for (auto& member : members_) {
    auto& guest = member.evictor->guest();
    auto& next = member.next_estimated;
    if (begin) next = shares(member) ? 0 : guest.pages();
    if (next >= guest.pages()) continue;
    const auto count = std::min(kStepPages, guest.pages() - next);
    sharing_.sharer->estimate(guest, next, count, estimator);
    next += count;
    // Others begin, too, or go on, with the next slice.
    if (!begin) return false;
  }
  return std::all_of(members_.begin(), members_.end(),
                     [](const auto& m) { return m.next_estimated >= m.evictor->guest().pages(); });
}

}  // namespace vmm::host
