#include "host/worker.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <string>

#include "base/check.h"
#include "base/error.h"
#include "os/affinity.h"
#include "reclaim/drop_leftovers.h"
#include "region/isolator.h"
#include "region/mend.h"

namespace vmm::host {

using region::GuestMemory;
using region::Notice;

namespace {

constexpr std::uint64_t kBellTag = 1, kWritesTag = 2;
constexpr std::uint64_t kSlicePages = 1024;  // 4 MiB: about a millisecond of parking and hashing
constexpr int kShortWaitMs = 2;    // while memory is short and there is nothing to do but wait for time to pass
constexpr int kFruitlessWaitMs = 50;
// A page may be three chances warm; the fourth round takes it.
constexpr int kRounds = 5;
// Huge pages made of small ones in one round: some 10 ms of the worker's time.
constexpr int kMostMended = 8;
// Huge pages zeroed in one round, where the kernel has them at hand: less than a millisecond.
constexpr int kMostZeroed = 4;

}  // namespace

Worker::Worker(const WorkerOptions& options, region::Credit& credit, std::unique_ptr<reclaim::SwapOut> out,
               region::ZeroPool* zero_pool, region::Notices& notices, const base::Clock& clock)
    : options_(options), credit_(credit), out_(std::move(out)), zero_pool_(zero_pool), notices_(notices),
      clock_(clock) {}

Result<std::unique_ptr<Worker>> Worker::create(const WorkerOptions& options, region::Credit& credit,
                                               std::unique_ptr<reclaim::SwapOut> out, region::ZeroPool* zero_pool,
                                               region::Notices& notices, const base::Clock& clock) {
  std::unique_ptr<Worker> w(new Worker(options, credit, std::move(out), zero_pool, notices, clock));
  auto poller = os::Poller::create();
  if (!poller) return tl::unexpected(poller.error());
  w->poller_ = std::move(*poller);
  auto bell = os::Doorbell::create();
  if (!bell) return tl::unexpected(bell.error());
  w->bell_ = std::move(*bell);
  int error = w->poller_.add(w->bell_.fd(), kBellTag);
  if (error == 0) error = w->poller_.add(w->out_->event_fds(), kWritesTag);
  if (error != 0) return base::fail_errno(error, "epoll_ctl of a worker");
  auto* self = w.get();
  auto thread = os::Thread::start("vmm-work/" + std::to_string(options.node), [self] { self->run(); });
  if (!thread) return tl::unexpected(thread.error());
  w->thread_ = std::move(*thread);
  return w;
}

Worker::~Worker() {
  stop_.store(true, std::memory_order_release);
  bell_.ring();
  thread_.join();
}

void Worker::wake() noexcept {
  if (!awake_.exchange(true, std::memory_order_acq_rel)) bell_.ring();
}

void Worker::want_zeros() noexcept {
  zeros_wanted_.store(true, std::memory_order_release);
  wake();
}

void Worker::want_mending() noexcept {
  mend_wanted_.store(true, std::memory_order_release);
  wake();
}

void Worker::push_locked(Request& request) noexcept {
  request.next = nullptr;
  (last_ != nullptr ? last_->next : first_) = &request;
  last_ = &request;
}

void Worker::pop_locked() noexcept {
  first_ = first_->next;
  if (first_ == nullptr) last_ = nullptr;
}

void Worker::submit(Request& request) noexcept {
  base::MutexLock lock(mutex_);
  push_locked(request);
  bell_.ring();
  while (!request.done) served_.wait(mutex_);
}

Result<void> Worker::attach(GuestMemory& guest, std::uint64_t reservation) {
  Request request{Request::kAttach, &guest, reservation};
  submit(request);
  if (request.error != 0)
    return base::fail_errno(request.error, "attaching guest \"" + guest.name() + "\" to its worker", "free memory");
  return {};
}

void Worker::detach(GuestMemory& guest) {
  Request request{Request::kDetach, &guest};
  submit(request);
}

Result<std::uint64_t> Worker::reclaim(GuestMemory& guest, std::uint64_t pages) {
  Request request{Request::kReclaim, &guest, pages};
  submit(request);
  if (request.error != 0 && request.freed == 0)
    return base::fail_errno(request.error, "reclaim of guest \"" + guest.name() + "\"", "free memory");
  return request.freed;
}

bool Worker::unmanage(GuestMemory& guest) {
  Request request{Request::kUnmanage, &guest};
  submit(request);
  return request.result;
}

Worker::Member* Worker::find(const GuestMemory& guest) {
  const auto m = std::find_if(members_.begin(), members_.end(),
                              [&](const Member& member) { return &member.evictor->guest() == &guest; });
  return m == members_.end() ? nullptr : &*m;
}

void Worker::run() {
  int timeout = -1;
  std::array<std::uint64_t, 4> tags;
  while (!stop_.load(std::memory_order_acquire)) {
    const int count = poller_.wait(tags.data(), static_cast<int>(tags.size()), timeout);
    for (int i = 0; i < count; ++i)
      if (tags[static_cast<std::size_t>(i)] == kBellTag) bell_.clear();
    // An exchange, not a store: what was asked for before a wake() that did not ring is seen by this look.
    awake_.exchange(false, std::memory_order_acq_rel);
    try {
      timeout = look();
    } catch (const std::bad_alloc&) {
      // Nothing was taken that is not accounted for: each step makes its notes before it acts. Once more, soon.
      timeout = kShortWaitMs;
    }
  }
}

// Does what there is to do now. Returns the milliseconds to the next look, -1: when somebody rings.
int Worker::look() {
  const auto now = clock_.now();
  out_->finish(false, now);
  for (auto& member : members_) {
    reclaim::drop_leftovers(member.evictor->guest());
    member.evictor->find_stranded(now);
  }
  const bool requests = serve_requests();
  const bool pressure = relieve_pressure();
  const bool zeros = zero_ahead();
  if (!requests && !pressure && !zeros) mend_some();
  // Busy: look again at once. Short of memory with nothing ready: in a moment.
  if (requests || zeros || (pressure && fruitless_ == 0)) return 0;
  if (!pressure) return -1;
  return fruitless_ > 8 ? kFruitlessWaitMs : kShortWaitMs;
}

// Serves one slice of the first request. True if there is more to do.
bool Worker::serve_requests() {
  Request* request = nullptr;
  {
    base::MutexLock lock(mutex_);
    if (first_ == nullptr) return false;
    request = first_;
  }
  bool done = true;
  try {
    done = serve(*request);
  } catch (const std::bad_alloc&) {
    request->error = ENOMEM;
  }
  base::MutexLock lock(mutex_);
  pop_locked();
  if (done) {
    request->done = true;
    served_.notify_all();
  } else {
    push_locked(*request);
  }
  return first_ != nullptr;
}

bool Worker::serve(Request& request) {
  auto* member = find(*request.guest);
  switch (request.kind) {
    case Request::kAttach:
      members_.push_back({std::make_unique<reclaim::Evictor>(*request.guest, notices_), request.pages});
      return true;
    case Request::kDetach:
      out_->finish(true, clock_.now());
      if (member != nullptr) members_.erase(members_.begin() + (member - members_.data()));
      return true;
    case Request::kReclaim: return member == nullptr || reclaim_slice(request);
    case Request::kUnmanage: {
      out_->finish(true, clock_.now());
      reclaim::drop_leftovers(*request.guest);
      base::MutexLock control(request.guest->control);
      request.result = request.guest->unmanage();
      return true;
    }
  }
  return true;
}

// Parks and writes one slice at once. True when the request is done: enough has left, or nothing more will.
bool Worker::reclaim_slice(Request& request) {
  auto& guest = *request.guest;
  const auto& c = guest.counters;
  auto* member = find(guest);
  const auto now = clock_.now();
  const auto load = [](const std::atomic<std::uint64_t>& counter) { return counter.load(std::memory_order_relaxed); };
  const auto above = [](std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; };
  if (!request.begun) request.freed_before = load(c.freed);
  request.begun = true;
  const auto freed = [&] { return load(c.freed) - request.freed_before; };
  // What is being written has not left yet, but need not be taken once more.
  const auto in_flight = out_->pages_in_flight();
  const auto wanted = std::min(above(request.pages, freed() + in_flight), kSlicePages);
  const auto takeable = above(above(load(c.resident), load(c.staging)), member->reservation);
  std::uint64_t handed = 0;
  if (wanted > 0) {
    const auto missing = std::min(above(wanted, member->evictor->parked()), takeable);
    if (missing > 0) member->evictor->park(missing, ~std::uint64_t{0}, now, takeable);
    handed = member->evictor->write(wanted, now, now, *out_);
  }
  request.handed += handed;
  if (wanted > 0) request.idle_rounds = handed == 0 ? request.idle_rounds + 1 : 0;
  // What comes back as fast as it is written is hot: twice what was asked for has been tried then.
  bool done = request.idle_rounds >= kRounds || request.handed >= 2 * request.pages + kSlicePages;
  // The last slice, and one that found nothing, wait for their writes; the others overlap with the next.
  out_->finish(done || wanted < kSlicePages || handed == 0, now);
  request.freed = freed();
  return done || request.freed >= request.pages;
}

// One slice of bringing free memory back above its threshold. True while that is not reached.
bool Worker::relieve_pressure() {
  const auto now = clock_.now();
  policy::ReclaimSnapshot snapshot;
  snapshot.budget = credit_.usable();
  snapshot.consumed = credit_.consumed();
  snapshot.in_flight = out_->pages_in_flight();
  snapshot.min_free = options_.min_free;
  snapshot.starving = credit_.somebody_waits();
  snapshot.under_way = under_way_;
  std::uint64_t freed_before = 0;
  for (const auto& m : members_) {
    auto& guest = m.evictor->guest();
    const auto& c = guest.counters;
    freed_before += c.freed.load(std::memory_order_relaxed);
    snapshot.guests.push_back({c.resident.load(std::memory_order_relaxed), m.evictor->parked(),
                               std::max(m.reservation, c.pinned.load(std::memory_order_relaxed)),
                               guest.options().limit_pages,
                               guest.managed() && reclaim::SwapStore::of(guest).writable(now),
                               c.staging.load(std::memory_order_relaxed)});
  }
  const auto plan = policy::plan_reclaim(snapshot);
  under_way_ = plan.needed;
  std::uint64_t parked = 0, written = 0;
  if (plan.memory_short && zero_pool_ != nullptr && zero_pool_->ready() > 0) written += zero_pool_->drain();
  for (std::size_t i = 0; i < members_.size(); ++i) {
    auto& evictor = *members_[i].evictor;
    const auto& step = plan.steps[i];
    // A round looks at each run once, so what is warm cools by one: the next slice goes on.
    // Whole runs may be more than was planned, but only out of what is not reserved.
    const auto& g = snapshot.guests[i];
    const auto held = g.resident - std::min(g.resident, g.staged);
    const auto most = std::max(step.park, held - std::min(held, g.protected_pages));
    if (step.park > 0) parked += evictor.park(std::min(step.park, kSlicePages), kSlicePages, now, most);
    const auto until = step.over_limit ? now : now - plan.grace;
    if (step.write > 0) written += evictor.write(std::min(step.write, kSlicePages), until, now, *out_);
  }
  out_->finish(false, now);
  std::uint64_t freed = 0;
  for (const auto& m : members_) freed += m.evictor->guest().counters.freed.load(std::memory_order_relaxed);
  const bool fruitful = freed != freed_before || written > 0 || parked > 0 || out_->pages_in_flight() > 0;
  fruitless_ = fruitful ? 0 : fruitless_ + 1;
  if (!plan.needed || fruitful) exhausted_ = false;
  if (snapshot.starving && fruitless_ > 2 * kRounds && !exhausted_) {
    exhausted_ = true;
    notices_.push({Notice::kMemoryExhausted, 0, 0, credit_.consumed()});
  }
  // In-flight writes ring when they end.
  if (plan.needed && written == 0 && parked == 0 && out_->pages_in_flight() > 0) fruitless_ = std::max(fruitless_, 1);
  return plan.needed;
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
      if (credit_.free() < options_.roomy_free_pages) return;
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
    refilled = credit_.free() > options_.roomy_free_pages && zero_pool_->refill();
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
