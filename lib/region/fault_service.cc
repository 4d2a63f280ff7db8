#include "region/fault_service.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/check.h"
#include "base/error.h"
#include "os/affinity.h"
#include "region/isolator.h"

namespace vmm::region {
namespace {

constexpr std::size_t kMostDeferred = 4096;
constexpr std::size_t kMostGuests = 16384;
// Tags of the epoll that are not guests.
constexpr std::uint64_t kBellTag = 1, kSourceTag = 2;
constexpr int kRetryMs = 1;  // for what nobody rings for: the kernel asked to try again

base::Nanos now() noexcept { return std::chrono::steady_clock::now().time_since_epoch(); }

}  // namespace

// A request to the thread; lives on the stack of its caller, who waits for `done`.
struct FaultService::Command {
  enum Kind { kAdd, kRemove, kStop };
  Kind kind;
  GuestMemory* guest = nullptr;
  bool for_good = true;  // remove
  Command* next = nullptr;
  std::atomic<int> done{0};

  void finish() noexcept {
    done.store(1, std::memory_order_release);
    done.notify_all();
  }
};

FaultService::FaultService(const FaultServiceOptions& options, Credit& credit, PageSource& source,
                           MemoryDemand& demand, Notices& notices, ZeroPool* zero_pool)
    : options_(options), credit_(credit), source_(source), demand_(demand), notices_(notices), zero_pool_(zero_pool) {
  deferred_.reserve(kMostDeferred);
  guests_.reserve(kMostGuests);
  removing_.reserve(kMostGuests);
}

Result<std::unique_ptr<FaultService>> FaultService::create(const FaultServiceOptions& options, Credit& credit,
                                                           PageSource& source, MemoryDemand& demand,
                                                           Notices& notices, ZeroPool* zero_pool) {
  std::unique_ptr<FaultService> s(new FaultService(options, credit, source, demand, notices, zero_pool));
  auto poller = os::Poller::create();
  if (!poller) return tl::unexpected(poller.error());
  s->poller_ = std::move(*poller);
  auto bell = os::Doorbell::create();
  if (!bell) return tl::unexpected(bell.error());
  s->bell_ = std::move(*bell);
  auto zeros = os::Mapping::anonymous(kHugePageSize);
  if (!zeros) return tl::unexpected(zeros.error());
  s->zeros_ = std::move(*zeros);
  os::advise_huge_pages(s->zeros_.data(), s->zeros_.size(), false);
  // Reading maps the kernel's zero page everywhere: a source of 2 MiB of zeros that costs no memory.
  for (std::uint64_t i = 0; i < kHugePageSize; i += kPageSize)
    static_cast<void>(*const_cast<volatile std::byte*>(s->zeros_.data() + i));
  if (const int e = s->poller_.add(s->bell_.fd(), kBellTag)) return base::fail_errno(e, "epoll_ctl of a fault thread");
  if (const int e = s->poller_.add(source.event_fds(), kSourceTag))
    return base::fail_errno(e, "epoll_ctl of a fault thread");
  source.set_bell(s->bell_);
  auto* self = s.get();
  auto thread = os::Thread::start("vmm-fault/" + std::to_string(options.node), [self] { self->run(); });
  if (!thread) return tl::unexpected(thread.error());
  s->thread_ = std::move(*thread);
  return s;
}

FaultService::~FaultService() {
  if (thread_.joinable()) {
    Command command{Command::kStop};
    post(command);
    thread_.join();
  }
  source_.end_helping();
}

void FaultService::post(Command& command) noexcept {
  auto* head = commands_.load(std::memory_order_relaxed);
  do command.next = head;
  while (!commands_.compare_exchange_weak(head, &command, std::memory_order_release, std::memory_order_relaxed));
  bell_.ring();
}

void FaultService::ask(Command& command) noexcept {
  post(command);
  command.done.wait(0, std::memory_order_acquire);
}

Result<void> FaultService::add(GuestMemory& guest) {
  if (auto r = reserve(guest); !r) return r;
  Command command{Command::kAdd, &guest};
  ask(command);
  return {};
}

Result<void> FaultService::reserve(GuestMemory& guest) {
  int error = 0;
  if (places_.fetch_add(1, std::memory_order_relaxed) >= kMostGuests) error = ENOSPC;
  if (error == 0) error = poller_.reserve(guest.uffd().fd(), reinterpret_cast<std::uintptr_t>(&guest));
  if (error == 0) return {};
  places_.fetch_sub(1, std::memory_order_relaxed);
  return base::fail_errno(error, "epoll_ctl for guest \"" + guest.name() + "\"",
                          "raise fs.epoll.max_user_watches, or use fewer guests");
}

void FaultService::cancel(GuestMemory& guest) noexcept {
  poller_.remove(guest.uffd().fd());
  places_.fetch_sub(1, std::memory_order_relaxed);
}

void FaultService::take_over(GuestMemory& guest, FaultService& from) noexcept {
  Command remove{Command::kRemove, &guest};
  remove.for_good = false;
  from.ask(remove);
  // Before the thread knows of the guest: see PageTable::set_bell().
  guest.table.set_bell(&bell_);
  guest.leaving.store(false, std::memory_order_seq_cst);
  Command command{Command::kAdd, &guest};
  ask(command);
  // What the other had read and not answered: who waits faults again.
  if (guest.managed()) guest.wake(0, guest.pages());
}

void FaultService::remove(GuestMemory& guest) noexcept {
  Command command{Command::kRemove, &guest};
  ask(command);
}

bool FaultService::prefetch(GuestMemory& guest, std::uint64_t first, std::uint64_t end) {
  for (auto& p : guest.prefetches) {
    std::uint32_t free = Prefetch::kFree;
    if (!p.state.compare_exchange_strong(free, Prefetch::kClaimed, std::memory_order_acquire)) continue;
    p.next = first;
    p.end = end;
    p.state.store(Prefetch::kQueued, std::memory_order_seq_cst);
    // A thread that has let go of the guest never looks here again.
    std::uint32_t queued = Prefetch::kQueued;
    if (guest.closing.load(std::memory_order_seq_cst) && p.state.compare_exchange_strong(queued, Prefetch::kFree))
      p.state.notify_all();
    guest.table.ring();
    return true;
  }
  return false;
}

void FaultService::wait_prefetched(GuestMemory& guest) {
  for (auto& p : guest.prefetches)
    for (auto s = p.state.load(std::memory_order_acquire); s != Prefetch::kFree;
         s = p.state.load(std::memory_order_acquire))
      p.state.wait(s, std::memory_order_acquire);
}

FaultProgress FaultService::progress() const noexcept {
  return {answered_.load(std::memory_order_relaxed), address_.load(std::memory_order_relaxed)};
}

void FaultService::run() noexcept {
  std::array<std::uint64_t, 64> tags;
  while (!stop_) {
    const bool kernel_asked = std::any_of(deferred_.begin(), deferred_.end(),
                                          [](const Fault& f) { return f.outcome == Outcome::wait_kernel; });
    const auto woken = wait(tags, kernel_asked);
    bool look_again = kernel_asked || woken.reaped, rung = false;
    for (const auto tag : std::span(tags).first(static_cast<std::size_t>(woken.tags))) {
      if (tag == kBellTag) {
        bell_.clear();
        look_again = rung = true;
        pumping_ = true;
      } else if (tag == kSourceTag) {
        look_again |= reap_watched();
      } else {
        drain(*reinterpret_cast<GuestMemory*>(tag));
      }
    }
    // What a slice has left is in no descriptor that would make the epoll return.
    if (source_.left()) look_again |= reap_watched();
    take_commands();
    if (rung)
      for (auto* guest : guests_) guest->wake_again();
    if (look_again) retry_deferred();
    if (pumping_) pump_prefetches();
    source_.flush();
    check_memory();  // of what was read ahead too
    finish_removals();
  }
}

// Sleeps until something happens. While somebody waits for a fast device it looks for a while first.
FaultService::Wakeup FaultService::wait(std::span<std::uint64_t> tags, bool kernel_asked) noexcept {
  const auto look = [&](int timeout_ms) {
    Wakeup w;
    w.tags = poller_.wait(tags.data(), static_cast<int>(tags.size()), timeout_ms);
    // No tag: interrupted, by a completion most of the time.
    w.reaped = w.tags == 0 && reap_watched();
    return w;
  };
  if (source_.left()) return look(0);
  if (kernel_asked) return look(kRetryMs);
  if (!source_.awaited()) return look(-1);
  const auto begun = now();
  Wakeup w;
  for (const auto longest = poll_.begin(); longest.count() > 0;) {
    w = look(0);
    const auto before = now();
    if (w.tags > 0 || w.reaped || before - begun > longest) break;
    os::yield_processor();
    if (poll_.disturbs(now() - before)) break;
  }
  const bool found = w.tags > 0 || w.reaped;
  if (!found) w = look(-1);
  if (w.reaped || (w.tags == 1 && tags[0] == kSourceTag)) poll_.came(now() - begun, found);
  return w;
}

void FaultService::take_commands() noexcept {
  auto* command = commands_.exchange(nullptr, std::memory_order_acquire);
  while (command != nullptr) {
    auto* next = command->next;  // a finished command is gone
    switch (command->kind) {
      case Command::kAdd:
        poller_.listen(command->guest->uffd().fd(), reinterpret_cast<std::uintptr_t>(command->guest));
        guests_.push_back(command->guest);
        command->guest->of_node = &latency_;
        pumping_ = true;  // what was asked for when another thread answered it
        command->finish();
        break;
      case Command::kRemove: {
        auto* guest = command->guest;
        guest->leaving.store(true, std::memory_order_seq_cst);
        if (command->for_good) guest->closing.store(true, std::memory_order_seq_cst);
        poller_.remove(guest->uffd().fd());
        places_.fetch_sub(std::erase(guests_, guest), std::memory_order_relaxed);
        std::erase_if(deferred_, [&](const Fault& f) { return f.guest == guest; });
        if (command->for_good)
          for (auto& p : guest->prefetches) {
            std::uint32_t queued = Prefetch::kQueued;
            if (p.state.compare_exchange_strong(queued, Prefetch::kFree)) p.state.notify_all();
          }
        removing_.push_back(command);
        break;
      }
      case Command::kStop:
        stop_ = true;
        break;
    }
    command = next;
  }
}

void FaultService::finish_removals() noexcept {
  std::erase_if(removing_, [&](Command* command) {
    if (source_.in_flight(*command->guest) != 0) return false;
    command->finish();
    return true;
  });
}

void FaultService::pump_prefetches() noexcept {
  pumping_ = false;
  for (auto* guest : guests_)
    for (auto& p : guest->prefetches) {
      if (p.state.load(std::memory_order_acquire) != Prefetch::kQueued) continue;
      if (!source_.pump(*guest, p.next, p.end)) {
        pumping_ = true;  // goes on when the next read has come
        continue;
      }
      p.state.store(Prefetch::kFree, std::memory_order_release);
      p.state.notify_all();
    }
}

// One batch: what is left makes the epoll return at once, after the other guests had their turn.
void FaultService::drain(GuestMemory& guest) noexcept {
  std::array<os::FaultEvent, 64> events;
  const int count = guest.uffd().read(events.data(), static_cast<int>(events.size()));
  if (count <= 0) return;
  const auto since = now();
  const auto end = events.begin() + count;
  if (count > 1)
    std::sort(events.begin(), end, [](const auto& a, const auto& b) {
      return a.address != b.address ? a.address < b.address : a.write > b.write;
    });
  for (auto e = events.begin(); e != end; ++e) {
    if (e->other) continue;
    // One answer wakes every thread that waits for the page; but the thread that has locked its word waits for none.
    const bool copies = e->thread != 0 && e->thread == guest.copier.load(std::memory_order_acquire);
    if (e != events.begin() && !(e - 1)->other && (e - 1)->address == e->address &&
        (e - 1)->write_protected == e->write_protected && !copies)
      continue;
    bump(guest.counters.faults);
    if (guest.page_of(e->address) >= guest.pages()) {
      refuse_moved(guest, e->address);
      continue;
    }
    handle({&guest, guest.page_of(e->address), since, e->write, e->write_protected, e->thread});
  }
}

bool FaultService::already_deferred(const GuestMemory& guest, std::uint64_t page) const noexcept {
  return std::any_of(deferred_.begin(), deferred_.end(),
                     [&](const Fault& f) { return f.guest == &guest && f.page == page; });
}

void FaultService::handle(Fault fault) noexcept {
  const auto outcome = answer_watched(fault);
  if (outcome == Outcome::done || outcome == Outcome::reading) return;
  if (outcome == Outcome::wait_credit) bump(fault.guest->counters.stalls);
  if (deferred_.size() == kMostDeferred) {
    // No room to remember it: the thread faults again, and by then there may be.
    fault.guest->wake(fault.page, 1);
    return;
  }
  if (!fault.write_protected && already_deferred(*fault.guest, fault.page)) return;
  deferred_.push_back(fault);
  deferred_.back().outcome = outcome;
  deferred_.back().waited_for_zeros = outcome == Outcome::wait_zeros;
}

void FaultService::retry_deferred() noexcept {
  std::erase_if(deferred_, [&](Fault& f) {
    const auto state = f.guest->table.load(f.page).state();
    if (f.outcome == Outcome::wait_page && (state == PageState::empty || state == PageState::ballooned)) {
      // Given up meanwhile, by the very thread perhaps, which a read's end has woken: who waits still faults again.
      f.guest->wake(f.page, 1);
      return true;
    }
    f.outcome = answer_watched(f);
    f.waited_for_zeros |= f.outcome == Outcome::wait_zeros;
    return f.outcome == Outcome::done || f.outcome == Outcome::reading;
  });
}

// What has been read is put in place, seen by the watchdog.
bool FaultService::reap_watched() noexcept {
  if (!source_.reap(address_)) return false;
  address_.store(0, std::memory_order_relaxed);
  answered_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

// answer(), seen by the watchdog.
Outcome FaultService::answer_watched(Fault& fault) noexcept {
  address_.store(reinterpret_cast<std::uintptr_t>(fault.guest->at(fault.page)), std::memory_order_relaxed);
  const auto outcome = answer(fault);
  note_stop(fault, outcome);
  if (fault.sampled && outcome == Outcome::done)
    bump(fault.guest->counters.sample_wait_ns,
         static_cast<std::uint64_t>(std::max<base::Nanos::rep>((now() - fault.since).count(), 0)));
  address_.store(0, std::memory_order_relaxed);
  answered_.fetch_add(1, std::memory_order_relaxed);
  return outcome;
}

// How long the fault was kept because its guest was stopped, when it no longer is.
void FaultService::note_stop(Fault& fault, Outcome outcome) noexcept {
  const bool waits = outcome == Outcome::wait_stopped;
  if (waits == (fault.stopped_since.count() != 0)) return;
  if (waits) {
    fault.stopped_since = now();
    return;
  }
  fault.guest->count_wait(&FaultLatency::stop, fault.stopped_since);
  fault.stopped_since = {};
}

Outcome FaultService::answer(Fault& fault) noexcept {
  GuestMemory& guest = *fault.guest;
  // The application dropped the page while it was being copied: what is taken then are zeros.
  if (fault.thread == guest.copier.load(std::memory_order_acquire) && fault.thread != 0) return supply_zeros(fault);
  // Who ends the stop rings.
  if (guest.arbitration.stopped.load(std::memory_order_acquire)) return Outcome::wait_stopped;
  // Each wait is announced before the try that decides: who unlocks, or gives credit back, after that rings.
  for (bool lock_announced = false, credit_announced = false;;) {
    const auto word = guest.table.try_lock(fault.page);
    if (!word) {
      if (!lock_announced) {
        guest.table.announce_wait();
        lock_announced = true;
        continue;
      }
      if (guest.table.load(fault.page).state() == PageState::swapped) source_.touched(guest, fault.page);
      return Outcome::wait_page;
    }
    if (word->watched()) {
      // The touch that the sampler waits for. Round again: from here on it is a page like any other.
      if (word->state() == PageState::isolated) {
        bump(guest.counters.sample_faults);
        fault.sampled = true;
      }
      guest.table.unlock(fault.page, guest.table.unwatch(fault.page, *word));
      continue;
    }
    auto outcome = Outcome::done;
    switch (word->state()) {
      case PageState::native:
      case PageState::empty:
      case PageState::ballooned: outcome = fill(fault, *word); break;
      case PageState::resident: outcome = confirm(fault, *word); break;
      case PageState::isolated: outcome = word->writing() ? copy_back(fault, *word) : rescue(fault, *word); break;
      case PageState::swapped:
        outcome = guest.leaving ? Outcome::wait_page : source_.start(guest, fault.page, fault.since, true);
        if (outcome != Outcome::reading) guest.table.unlock(fault.page, *word);
        break;
      case PageState::lost: outcome = reject(fault, *word); break;
      case PageState::shared:
        // It waited while a frame was put in its place.
        guest.wake(fault.page, 1);
        guest.table.unlock(fault.page, *word);
        break;
      case PageState::compressed: VMM_CHECK_EQ(word->state(), PageState::resident);
    }
    // No released(): nobody but this thread could wait for what it has just held, and ringing its own bell would
    // make it look at all that it has deferred again and again while a read is in flight.
    if (outcome != Outcome::wait_credit) return outcome;
    demand_.memory_awaited();
    if (credit_announced) return outcome;
    credit_.announce_wait();
    credit_announced = true;
  }
}

void FaultService::check_memory() noexcept {
  const auto free = credit_.free();
  const auto& marks = credit_.marks();
  if (free < marks.low.load(std::memory_order_relaxed)) demand_.memory_wanted();
  if (free < marks.plan_from.load(std::memory_order_relaxed) || free > marks.plan_to.load(std::memory_order_relaxed))
    demand_.targets_wanted();
}

}  // namespace vmm::region
