#include "host/worker.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <string>

#include "base/above.h"
#include "base/check.h"
#include "base/error.h"
#include "os/affinity.h"
#include "os/random_bytes.h"
#include "reclaim/drop_leftovers.h"
#include "region/isolator.h"
#include "region/mend.h"

namespace vmm::host {

using base::above;
using region::GuestMemory;
using region::Notice;

namespace {

constexpr std::uint64_t kBellTag = 1, kWritesTag = 2;
constexpr int kShortWaitMs = 2;    // while memory is short and there is nothing to do but wait for time to pass
constexpr int kFruitlessWaitMs = 50;
// While a little memory is taken all the time, it rests between looks, so that each finds some pages to take and some
// writes that have ended: a look for every page would cost as much as its reader saves.
constexpr int kRestMs = 1;
constexpr std::uint64_t kFewPages = 64;
// Huge pages made of small ones in one round: some 10 ms of the worker's time.
constexpr int kMostMended = 8;
// Huge pages zeroed in one round, where the kernel has them at hand: less than a millisecond.
constexpr int kMostZeroed = 4;

}  // namespace

Worker::Worker(region::Credit& credit, Arbiter& arbiter, std::unique_ptr<reclaim::SwapOut> out,
               region::ZeroPool* zero_pool, region::Notices& notices, const base::Clock& clock,
               const WorkerSharing& sharing)
    : credit_(credit), arbiter_(arbiter), out_(std::move(out)), zero_pool_(zero_pool), sharing_(sharing),
      notices_(notices),
      clock_(clock), random_(os::random_u64()) {}

Result<std::unique_ptr<Worker>> Worker::create(int node, region::Credit& credit, Arbiter& arbiter,
                                               std::unique_ptr<reclaim::SwapOut> out, region::ZeroPool* zero_pool,
                                               region::Notices& notices, const base::Clock& clock,
                                               const WorkerSharing& sharing) {
  std::unique_ptr<Worker> w(new Worker(credit, arbiter, std::move(out), zero_pool, notices, clock, sharing));
  auto poller = os::Poller::create();
  if (!poller) return tl::unexpected(poller.error());
  w->poller_ = std::move(*poller);
  auto bell = os::Doorbell::create();
  if (!bell) return tl::unexpected(bell.error());
  w->bell_ = std::move(*bell);
  auto rest_poller = os::Poller::create();
  if (!rest_poller) return tl::unexpected(rest_poller.error());
  w->rest_poller_ = std::move(*rest_poller);
  int error = w->poller_.add(w->bell_.fd(), kBellTag);
  if (error == 0) error = w->rest_poller_.add(w->bell_.fd(), kBellTag);
  if (error == 0) error = w->poller_.add(w->out_->event_fds(), kWritesTag);
  if (error != 0) return base::fail_errno(error, "epoll_ctl of a worker");
  auto* self = w.get();
  auto thread = os::Thread::start("vmm-work/" + std::to_string(node), [self] { self->run(); });
  if (!thread) return tl::unexpected(thread.error());
  w->thread_ = std::move(*thread);
  return w;
}

void Worker::stop() noexcept {
  stop_.store(true, std::memory_order_release);
  bell_.ring();
  thread_.join();
}

void Worker::wake() noexcept {
  if (!awake_.exchange(true, std::memory_order_acq_rel)) bell_.ring();
}

void Worker::wake_at_once() noexcept {
  if (urgent_.exchange(true, std::memory_order_acq_rel)) return;
  awake_.exchange(true, std::memory_order_acq_rel);
  bell_.ring();
}

void Worker::want_zeros() noexcept {
  zeros_wanted_.store(true, std::memory_order_release);
  wake();
}

void Worker::want_mending() noexcept {
  mend_wanted_.store(true, std::memory_order_release);
  wake();
}

void Worker::sample(base::Nanos now) noexcept {
  sample_at_.store(now.count(), std::memory_order_release);
  wake();
}

void Worker::sample_members(base::Nanos now) {
  const auto options = arbiter_.options();
  // Waits until memory is less than plentiful: only then it matters who uses what.
  const bool begin = credit_.free() < credit_.budget() / 4;
  for (auto& member : members_) {
    // A page whose original waits to be dropped cannot be watched.
    reclaim::drop_leftovers(member.evictor->guest());
    member.sampling->look(now, {options.sample_pages, options.sample_period}, begin, random_);
  }
}

Worker::Member* Worker::find(const GuestMemory& guest) {
  const auto m = std::find_if(members_.begin(), members_.end(),
                              [&](const Member& member) { return &member.evictor->guest() == &guest; });
  return m == members_.end() ? nullptr : &*m;
}

void Worker::run() {
  Sleep sleep;
  std::array<std::uint64_t, 4> tags;
  while (!stop_.load(std::memory_order_acquire)) {
    if (sleep.resting) awake_.exchange(true, std::memory_order_acq_rel);
    const auto& poller = sleep.resting ? rest_poller_ : poller_;
    const int count = poller.wait(tags.data(), static_cast<int>(tags.size()), sleep.ms);
    for (int i = 0; i < count; ++i)
      if (tags[static_cast<std::size_t>(i)] == kBellTag) bell_.clear();
    // An exchange, not a store: what was asked for before a wake() that did not ring is seen by this look.
    awake_.exchange(false, std::memory_order_acq_rel);
    urgent_.exchange(false, std::memory_order_acq_rel);
    try {
      sleep = look();
    } catch (const std::bad_alloc&) {
      // Nothing was taken that is not accounted for: each step makes its notes before it acts. Once more, soon.
      sleep = {kShortWaitMs};
    }
  }
}

// Nobody waits for what a look now would bring.
bool Worker::may_rest() const noexcept {
  return moved_ < kFewPages && !credit_.somebody_waits() && arbiter_.state() < MemoryState::hard;
}

// Does what there is to do now. Returns how long to sleep then.
Worker::Sleep Worker::look() {
  const auto now = clock_.now();
  out_->finish(false, now);
  for (auto& member : members_) {
    reclaim::drop_leftovers(member.evictor->guest());
    try {
      if (member.evictor->find_stranded(now)) member.sampling->hand_on_again(*member.evictor);
    } catch (const std::bad_alloc&) {
      // They are looked for again; requests need not wait for that.
    }
  }
  if (const auto at = sample_at_.exchange(0, std::memory_order_acq_rel)) sample_members(base::Nanos(at));
  const bool requests = serve_requests();
  const bool pressure = relieve_pressure();
  const bool zeros = zero_ahead();
  const auto later = std::min(migrate_some(), share_some());
  if (!requests && !pressure && !zeros) mend_some();
  const auto sleep = sleep_after(requests || zeros, pressure);
  if (later == base::Nanos::max()) return sleep;
  const auto ms = static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(later).count());
  return sleep.ms >= 0 && sleep.ms < ms ? sleep : Sleep{ms};
}

Worker::Sleep Worker::sleep_after(bool busy, bool pressure) const noexcept {
  // Busy: look again at once. Short of memory with nothing ready: in a moment.
  if (busy) return {0};
  if (pressure && fruitless_ > 8) return {kFruitlessWaitMs};
  if (may_rest() && (pressure || awaited_ || out_->pages_in_flight() > 0)) return {kRestMs, true};
  if (!pressure) return awaited_ ? Sleep{kShortWaitMs} : Sleep{};
  return {fruitless_ == 0 ? 0 : kShortWaitMs};
}

// One slice of what the arbiter wants. True while there is more to do.
bool Worker::relieve_pressure() {
  const auto now = clock_.now();
  const auto freed = [&] {
    std::uint64_t sum = 0;
    for (const auto& m : members_) {
      const auto& c = m.evictor->guest().counters;
      sum += load(c.freed) + load(c.ballooned_out);
    }
    return sum;
  };
  const auto freed_before = freed();
  for (const auto& m : members_)
    m.evictor->guest().counters.parked.store(m.evictor->parked() + m.sampling->parked(), std::memory_order_relaxed);
  const auto plan = arbiter_.plan(now);
  const auto& reclaim = plan.reclaim;
  std::uint64_t moved = 0;  // parked, handed on to be written, drained
  if (reclaim.memory_short && zero_pool_ != nullptr && zero_pool_->ready() > 0) moved += zero_pool_->drain();
  for (std::size_t i = 0; i < plan.guests.size(); ++i) {
    const auto& step = reclaim.steps[i];
    if (step.park + step.write == 0) continue;
    auto* member = find(*plan.guests[i]);
    if (member == nullptr) continue;  // another node's
    moved += free_pages_of(*member, step, reclaim.grace, now);
  }
  out_->finish(false, now);
  moved_ = moved;
  awaited_ = plan.awaited;
  const bool fruitful = freed() != freed_before || moved > 0 || plan.asked > 0 || out_->pages_in_flight() > 0;
  fruitless_ = fruitful ? 0 : fruitless_ + 1;
  if (!reclaim.needed || fruitful) exhausted_ = false;
  if (credit_.somebody_waits() && fruitless_ > 2 * kRounds && sharing_.sharer != nullptr && give_up_frames())
    fruitless_ = 0;
  if (credit_.somebody_waits() && fruitless_ > 2 * kRounds && !exhausted_) {
    exhausted_ = true;
    notices_.push({Notice::kMemoryExhausted, 0, 0, credit_.consumed()});
  }
  // In-flight writes ring when they end.
  if (reclaim.needed && moved == 0 && (out_->pages_in_flight() > 0 || plan.asked > 0))
    fruitless_ = std::max(fruitless_, 1);
  return reclaim.needed;
}

// Parks and writes what one step says. Returns how many pages that were.
std::uint64_t Worker::free_pages_of(Member& member, const policy::ReclaimStep& step, base::Nanos grace,
                                    base::Nanos now) {
  auto& evictor = *member.evictor;
  const auto& guest = evictor.guest();
  const bool for_limit = step.reason != policy::ReclaimReason::pressure;
  std::uint64_t moved = 0;
  // A round looks at each run once, so what is warm cools by one: the next slice goes on.
  // Whole runs may be more than was planned, but only out of what is not reserved.
  const auto kept = std::max(load(guest.arbitration.reserved), load(guest.counters.pinned));
  // What is sampled is in staging, but not on its way out.
  const auto staged = above(load(guest.counters.staging), member.sampling->parked());
  const auto room = std::max(step.park, above(above(load(guest.counters.resident), staged), kept));
  // What is sampled and was not touched is the coldest that is known.
  const auto released = member.sampling->release(evictor, now, room);
  moved += released;
  if (step.park > 0) moved += evictor.park(std::min(step.park, kSlicePages), kSlicePages, now, above(room, released));
  if (step.write > 0)
    moved += evictor.write(std::min(step.write, kSlicePages), for_limit ? now : now - grace, now, *out_, step.reason);
  return moved;
}

// A slice of each guest whose memory is to follow it. Returns the time until more may be moved.
base::Nanos Worker::migrate_some() noexcept {
  auto next = base::Nanos::max();
  const auto now = clock_.now();
  for (auto& member : members_) next = std::min(next, member.migration->step(now));
  return next;
}

bool Worker::roomy() const noexcept {
  return credit_.free() > credit_.marks().roomy.load(std::memory_order_relaxed);
}

// Makes a few huge pages of small ones, once a round and only while nothing else is to be done.
void Worker::mend_some() noexcept {
  if (zero_pool_ == nullptr || !mend_wanted_.exchange(false, std::memory_order_acq_rel)) return;
  int left = kMostMended;
  for (auto& member : members_) {
    auto& guest = member.evictor->guest();
    if (!guest.options().large_pages || !guest.managed()) continue;
    const auto chunks = guest.pages() / region::kMostTaken;
    for (std::uint64_t looked = 0; looked < chunks && left > 0; ++looked) {
      if (!roomy()) return;
      const auto chunk = member.mend_hand;
      member.mend_hand = chunk + 1 >= chunks ? 0 : chunk + 1;
      if (region::mend_huge_page(guest, chunk * region::kMostTaken)) --left;
    }
  }
}

// Zeroes a few huge pages ahead if some are wanted and there is room. True if more are.
bool Worker::zero_ahead() {
  // Taken down first: who wants them after this is served by the next look.
  if (zero_pool_ == nullptr || !zeros_wanted_.exchange(false, std::memory_order_acq_rel)) return false;
  bool refilled = true;
  for (int i = 0; refilled && i < (zero_pool_->quick() ? kMostZeroed : 1); ++i) {
    zero_pool_->set_zeroing_on(os::current_processor());
    refilled = roomy() && zero_pool_->refill();
  }
  if (refilled) {
    zeros_wanted_.store(true, std::memory_order_release);
  } else {
    zero_pool_->set_zeroing_on(-1);
    zero_pool_->tell_waiting();  // that there will be none
  }
  return refilled;
}

}  // namespace vmm::host
