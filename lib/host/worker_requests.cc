// What callers ask of a worker and wait for: a queue on their own stacks, served slice by slice between looks.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <new>
#include <string>

#include "base/above.h"
#include "base/check.h"
#include "base/error.h"
#include "host/worker.h"
#include "reclaim/drop_leftovers.h"

namespace vmm::host {

using base::above;
using region::GuestMemory;

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

Result<void> Worker::attach(GuestMemory& guest, migrate::GuestMigration& migration, const std::string& salt) {
  Request request{Request::kAttach, &guest};
  request.migration = &migration;
  request.salt = &salt;
  submit(request);
  if (request.error != 0)
    return base::fail_errno(request.error, "attaching guest \"" + guest.name() + "\" to its worker", "free memory");
  return {};
}

void Worker::detach(GuestMemory& guest) {
  Request request{Request::kDetach, &guest};
  submit(request);
}

Result<void> Worker::reserve() {
  Request request{Request::kReserve, nullptr};
  submit(request);
  if (request.error != 0) return base::fail_errno(request.error, "a place at a worker", "free memory");
  return {};
}

void Worker::take_over(GuestMemory& guest, Worker& from) noexcept {
  Member member;
  Request release{Request::kRelease, &guest};
  release.member = &member;
  from.submit(release);
  Request take{Request::kTake, &guest};
  take.member = &member;
  submit(take);
}

Result<std::uint64_t> Worker::reclaim(GuestMemory& guest, std::uint64_t pages) {
  Request request{Request::kReclaim, &guest, pages};
  submit(request);
  if (request.error != 0 && request.freed == 0)
    return base::fail_errno(request.error, "reclaim of guest \"" + guest.name() + "\"", "free memory");
  return request.freed;
}

void Worker::sample_and_wait(base::Nanos now) noexcept {
  Request request{Request::kSample, nullptr};
  request.now = now;
  submit(request);
}

void Worker::share_now() noexcept {
  Request request{Request::kShare, nullptr};
  submit(request);
}

Result<void> Worker::estimate_sharing(sharing::ShareEstimator& estimator) {
  Request request{Request::kEstimate, nullptr};
  request.estimator = &estimator;
  submit(request);
  if (request.error != 0)
    return base::fail_errno(request.error, "an estimate of what could be shared", "free memory: 16 bytes a page");
  return {};
}

bool Worker::unmanage(GuestMemory& guest) {
  Request request{Request::kUnmanage, &guest};
  submit(request);
  return request.result;
}

void Worker::hold() noexcept {
  Request request{Request::kHold, nullptr};
  submit(request);
}

void Worker::let_go() noexcept {
  base::MutexLock lock(mutex_);
  --holds_;
  let_go_.notify_all();
}

// Until it is let go. The holder itself, or who it waits for, may wait for what only this thread does.
void Worker::stand_still_locked() noexcept {
  constexpr std::chrono::milliseconds kLook(10), kMostHeld(10'000), kMostHeldUp(1000);
  for (std::chrono::milliseconds waited{0}; holds_ > 0 && !stop_.load(std::memory_order_acquire); waited += kLook) {
    if (waited >= (credit_.somebody_waits() ? kMostHeldUp : kMostHeld)) return;
    // They get small pages then.
    if (zero_pool_ != nullptr && zeros_wanted_.load(std::memory_order_acquire)) zero_pool_->tell_waiting();
    let_go_.wait_for(mutex_, kLook);
  }
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
  const bool hold = request->kind == Request::kHold;
  if (hold) ++holds_;
  if (done) {
    request->done = true;
    served_.notify_all();
  } else {
    push_locked(*request);
  }
  if (hold) stand_still_locked();
  return first_ != nullptr;
}

bool Worker::serve(Request& request) {
  auto* member = request.guest != nullptr ? find(*request.guest) : nullptr;
  switch (request.kind) {
    case Request::kAttach: {
      Member made;
      made.evictor = std::make_unique<reclaim::Evictor>(*request.guest, notices_);
      made.sampling = std::make_unique<GuestSampling>(*request.guest);
      made.migration = request.migration;
      made.salt = *request.salt;
      members_.reserve(members_.size() + 1);
      begin_sharing(made);
      members_.push_back(std::move(made));
      return true;
    }
    case Request::kDetach:
      out_->finish(true, clock_.now());
      if (sharing_.sharer != nullptr) sharing_.sharer->remove(*request.guest);
      if (member != nullptr) members_.erase(members_.begin() + (member - members_.data()));
      return true;
    case Request::kReserve: members_.reserve(members_.size() + 1); return true;
    case Request::kRelease:
      out_->finish(true, clock_.now());
      VMM_CHECK(member != nullptr);
      if (sharing_.sharer != nullptr) sharing_.sharer->remove(*request.guest);
      member->share_noted = false;
      *request.member = std::move(*member);
      members_.erase(members_.begin() + (member - members_.data()));
      return true;
    case Request::kTake:
      members_.push_back(std::move(*request.member));
      // Without memory for that it is not looked at here; what it shows it goes on showing.
      begin_sharing(members_.back());
      return true;
    case Request::kReclaim:
      if (member != nullptr) return reclaim_slice(request);
      // It has another worker since: what was being written then has left.
      if (request.begun) request.freed = load(request.guest->counters.freed) - request.freed_before;
      return true;
    case Request::kUnmanage: {
      if (member == nullptr) return true;
      out_->finish(true, clock_.now());
      reclaim::drop_leftovers(*request.guest);
      member->sampling->end();
      base::MutexLock control(request.guest->control);
      request.result = request.guest->unmanage();
      return true;
    }
    case Request::kSample: sample_members(request.now); return true;
    case Request::kShare: {
      const bool begin = !request.begun;
      request.begun = true;
      return share_slice(begin);
    }
    case Request::kEstimate: {
      const bool begin = !request.begun;
      request.begun = true;
      return estimate_slice(begin, *request.estimator);
    }
    case Request::kHold: return true;
  }
  return true;
}

// Parks and writes one slice at once. True when the request is done: enough has left, or nothing more will.
bool Worker::reclaim_slice(Request& request) {
  auto& guest = *request.guest;
  const auto& c = guest.counters;
  auto* member = find(guest);
  const auto now = clock_.now();
  if (!request.begun) request.freed_before = load(c.freed);
  request.begun = true;
  const auto freed = [&] { return load(c.freed) - request.freed_before; };
  // What is being written has not left yet, but need not be taken once more.
  const auto in_flight = out_->pages_in_flight();
  const auto wanted = std::min(above(request.pages, freed() + in_flight), kSlicePages);
  const auto staged = above(load(c.staging), member->sampling->parked());
  auto takeable = above(above(load(c.resident), staged), load(guest.arbitration.reserved));
  std::uint64_t handed = 0;
  if (wanted > 0) {
    takeable -= std::min(takeable, member->sampling->release(*member->evictor, now, takeable));
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

}  // namespace vmm::host
