// The scheduler's side of HostCore: the watch over native guests, the round every rebalance_period, and notices.
#include <algorithm>
#include <array>
#include <new>
#include <string>

#include "base/text.h"
#include "host/host_core.h"
#include "os/node_info.h"
#include "os/poller.h"
#include "policy/watch.h"
#include "reclaim/swap_store.h"

namespace vmm {
namespace {

// Native again after memory has been plentiful for this long: going back costs 50 ms a GiB.
constexpr base::Nanos kPlentiful = std::chrono::seconds(60);
// To the next look after one that found no memory to look with.
constexpr base::Nanos kNoMemoryWait = std::chrono::milliseconds(10);
// Between looks at the control group's limit: about 0.2 ms of reading files each.
constexpr base::Nanos kGroupPeriod = std::chrono::milliseconds(200);

}  // namespace

void HostCore::run() {
  while (!stop_.load(std::memory_order_acquire)) {
    base::Nanos wait = kNoMemoryWait;
    try {
      wait = look();
    } catch (const std::bad_alloc&) {
      // A look that was cut short: all of it is done again soon.
    }
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(std::max(wait, base::Nanos(0))).count();
    std::array<std::uint64_t, 1> tag;
    if (poller_.wait(tag.data(), 1, static_cast<int>(ms)) > 0) bell_.clear();
  }
}

// Does what is due. Returns the time to the next look.
base::Nanos HostCore::look() {
  const auto period = watch(clock_.now());
  const auto now = clock_.now();
  if (now >= next_round_) {
    round(now);
    next_round_ = now + options_.rebalance_period;
  }
  targets_wanted_.exchange(false, std::memory_order_acq_rel);
  const auto next_observation = arbiter_.observe(now);
  if (now >= next_sampling_) {
    for (const auto& node : nodes_) node->worker->sample(now);
    next_sampling_ = now + sampling_interval();
  }
  drain_notices();
  if (group_watch_.limited() && now >= next_group_look_) {
    watch_group(now);
    next_group_look_ = now + kGroupPeriod;
  }
  auto wait = std::min<base::Nanos>(period, next_round_ - clock_.now());
  wait = std::min(wait, next_sampling_ - clock_.now());
  wait = std::min(wait, next_observation - clock_.now());
  return group_watch_.limited() ? std::min(wait, kGroupPeriod) : wait;
}

// Often enough for use to be believed well within a period.
base::Nanos HostCore::sampling_interval() {
  const base::Nanos part = arbiter_.options().sample_period / 16;
  return std::max<base::Nanos>(std::min<base::Nanos>(part, options_.rebalance_period), std::chrono::milliseconds(5));
}

Result<void> HostCore::tick(base::Nanos now) {
  if (in_child()) return forked("tick");
  if (options_.scheduler != Scheduler::manual)
    return base::invalid("tick with HostOptions::scheduler = automatic", "create the host with Scheduler::manual");
  constexpr std::chrono::hours kCentury(24 * 365 * 100);
  if (now - clock_.now() > kCentury)
    return base::invalid("tick at " + std::to_string(now.count()) + " ns",
                         "give the time of CLOCK_MONOTONIC, or not much more");
  // One time for all: workers go on between ticks.
  now = clock_.advance_to(now);
  watch(now);
  round(now);
  targets_wanted_.exchange(false, std::memory_order_acq_rel);
  for (const auto& node : nodes_) node->worker->sample_and_wait(now);
  arbiter_.observe(now);
  drain_notices();
  events_.deliver();
  return {};
}

// Of guests that are not ending; they do not end meanwhile.
HostCore::EnteredGuests HostCore::enter_guests(bool adopted) {
  EnteredGuests entered;
  for (auto& guest : guests()) {
    auto pass = std::make_unique<host::GatePass>(guest->gate());
    if (!*pass || guest->memory().adopted() != adopted) continue;
    entered.memories.push_back(&guest->memory());
    entered.passes.push_back(std::move(pass));
    entered.guests.push_back(std::move(guest));
  }
  return entered;
}

// Measures native guests and manages them when memory gets short. Returns the time to the next look.
base::Nanos HostCore::watch(base::Nanos now) {
  if (watch_again_.exchange(false, std::memory_order_acq_rel)) watch_.forget();
  const auto budget = credit_.budget() * kPageSize;
  const auto manage_at = manage_below();
  {
    auto natives = enter_guests(false);
    watch_.measure(natives.memories, now);
    if (natives.guests.empty() || !managing_possible()) return options_.rebalance_period;
    const auto free = credit_.free() * kPageSize;
    const bool unwatched = cannot_watch();
    if (free >= manage_at && !unwatched) {
      // Guests that could not fill the budget even if all were resident need no watch, only a count now and then.
      const bool harmless = guest_memory_ + overhead_pages_ * kPageSize + manage_at <= budget;
      return harmless ? base::Nanos(options_.rebalance_period) : policy::watch_period(free, manage_at, growth_);
    }
    const auto reason =
        unwatched ? std::string(kOutgrows)
                  : "free memory is " + base::bytes_text(free) + ", below " + base::bytes_text(manage_at);
    // All of them are registered before the first is adopted: the others would grow on meanwhile.
    std::vector<std::unique_ptr<AdoptAtEnd>> adopt;
    for (auto* memory : natives.memories) adopt.push_back(std::make_unique<AdoptAtEnd>(*memory, true));
    for (const auto& guest : natives.guests) {
      auto r = guest->start_managing(reason);
      // Its end has come in between: it holds nothing any more.
      if (!r && r.error().code == Errc::inert_handle) continue;
      const auto error = r ? std::string() : r.error().message();
      // Said once, however often it is tried.
      if (!error.empty() && error != guest->manage_error)
        emit(EventKind::not_reclaimable, guest->name(), guest->options().memory, "userfaultfd", error);
      guest->manage_error = error;
    }
    adopt.clear();
    if (std::erase_if(natives.memories, [](const auto* m) { return m->adopted(); }) > 0) watch_.forget();
    watch_.measure(natives.memories, now);
  }
  memory_wanted();
  return policy::watch_period(0, manage_at, growth_) * 10;
}

// Keeps out of the way of the kernel's killer when the control group has less room than the budget says.
void HostCore::watch_group(base::Nanos now) {
  const auto entered = enter_guests(true);
  const auto withheld = group_watch_.measure(entered.memories, credit_, arbiter_.min_free(), now);
  if (withheld == credit_.withheld()) return;
  // Said when it begins to matter, not at every page.
  const auto matters = credit_.budget() / 64;
  if (credit_.withheld() < matters && withheld >= matters) {
    const auto& limit = group_watch_.limit();
    emit(EventKind::budget_withheld, "", withheld * kPageSize, "control group",
         base::bytes_text(limit.cgroup_used) + " of " + base::bytes_text(limit.cgroup) + " are used in " +
             limit.cgroup_source + ", " + base::bytes_text(limit.cgroup_cache) + " of them cache of files");
  }
  credit_.withhold(withheld);
  memory_wanted();
}

void HostCore::round(base::Nanos now) {
  watch_group(now);
  for (const auto& guest : guests()) {
    host::GatePass pass(guest->gate());
    if (!pass) continue;
    report_reclaim(*guest);
    guest->look_at_seats();
  }
  look_at_nodes();
  set_pinned_beyond();
  check_fault_threads(now);
  return_to_native(now);
  look_at_homes(now);
  for (const auto& node : nodes_) node->worker->want_mending();
}

// What statistics and the home-node scheduler are told of nodes.
void HostCore::look_at_nodes() {
  for (const auto& n : nodes_)
    n->free.store(os::node_free_bytes(n->node.id).value_or(n->node.memory), std::memory_order_relaxed);
}

// What has been taken of the guest since the last report, by mechanism and reason.
void HostCore::report_reclaim(GuestCore& guest) {
  auto& m = guest.memory();
  const auto limit = m.arbitration.limit.load(std::memory_order_relaxed) * kPageSize;
  const auto target = m.arbitration.target.load(std::memory_order_relaxed) * kPageSize;
  const auto report = [&](std::uint64_t out, std::atomic<std::uint64_t>& reported, const char* mechanism,
                          const std::string& why) {
    // By one thread at a time, but for the guest's end.
    const auto before = reported.exchange(out);
    if (out > before) emit(EventKind::reclaimed, guest.name(), (out - before) * kPageSize, mechanism, why);
  };
  const auto short_of = "free memory was near or below " + base::bytes_text(arbiter_.min_free_pages() * kPageSize) +
                        "; the guest's target is " + base::bytes_text(target);
  const std::string reasons[] = {short_of, "the guest's limit of " + base::bytes_text(limit), "the limit of its pool",
                                 "reclaim() was called"};
  for (std::size_t i = 0; i < std::size(reasons); ++i) {
    report(m.counters.freed_for[i].load(std::memory_order_relaxed), guest.reported_out[i], "swap", reasons[i]);
    report(m.counters.ballooned_for[i].load(std::memory_order_relaxed), guest.reported_ballooned[i], "balloon",
           reasons[i]);
  }
}

void HostCore::check_fault_threads(base::Nanos now) {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const auto& node = *nodes_[i];
    check_stall(stalls_[i].fault, node.faults->progress(), "vmm-fault/" + std::to_string(node.node.id), now);
    check_stall(stalls_[i].helper, node.faults->helper_progress(), "vmm-place/" + std::to_string(node.node.id), now);
  }
}

void HostCore::check_stall(Stall& stall, const region::FaultProgress& p, const std::string& thread, base::Nanos now) {
  if (p.address == 0 || p.answered != stall.answered || p.address != stall.address) {
    stall = {p.answered, p.address, now, false};
    return;
  }
  if (stall.reported || now - stall.since < options_.watchdog_timeout) return;
  stall.reported = true;
  std::string owner;
  for (const auto& guest : guests()) {
    host::GatePass pass(guest->gate());
    if (!pass) continue;
    const auto base = reinterpret_cast<std::uintptr_t>(guest->memory().base());
    if (p.address >= base && p.address < base + guest->options().memory) owner = guest->name();
  }
  const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(now - stall.since).count();
  char text[128];
  std::snprintf(text, sizeof text, "thread %s has worked on the page at %#llx for %lld ms", thread.c_str(),
                static_cast<unsigned long long>(p.address), static_cast<long long>(since));
  emit(EventKind::fault_stalled, owner, 0, "watchdog", text);
}

// When memory has been plentiful for long, guests that are wholly in memory run natively again.
void HostCore::return_to_native(base::Nanos now) {
  const auto plenty = std::max(credit_.budget() / 2 * kPageSize, manage_below() / 4 * 5);
  if (options_.management == Management::at_creation || cannot_watch() || credit_.free() * kPageSize < plenty) {
    plentiful_since_.reset();
    return;
  }
  if (!plentiful_since_) plentiful_since_ = now;
  if (now - *plentiful_since_ < kPlentiful) return;
  for (const auto& guest : guests()) {
    host::GatePass pass(guest->gate());
    if (!pass || !guest->memory().managed()) continue;
    const auto limit = guest->memory().arbitration.limit.load(std::memory_order_relaxed);
    if (limit != 0 && limit < guest->memory().pages()) continue;
    if (arbiter_.pool_limited(arbiter_.entitlement(guest->memory()).pool)) continue;
    const auto& c = guest->memory().counters;
    if (c.staging.load() + c.swapped.load() + c.lost.load() + c.pinned.load() + c.ballooned.load() != 0) continue;
    if (!guest->node().worker->unmanage(guest->memory())) continue;
    watch_again();
    emit(EventKind::guest_native, guest->name(), guest->options().memory, "userfaultfd",
         "half the budget has been free for a minute");
  }
}

void HostCore::drain_notices() {
  region::Notice notice;
  while (notices_.pop(notice)) {
    std::string name;
    for (const auto& guest : guests()) {
      host::GatePass pass(guest->gate());
      if (pass && guest->memory().id() == notice.guest) name = guest->name();
    }
    const auto error = std::generic_category().message(notice.error);
    switch (notice.kind) {
      case region::Notice::kSwapReadFailed:
        emit(EventKind::swap_read_failed, name, kPageSize, "swap",
             "page " + std::to_string(notice.value) + ": " + (notice.error != 0 ? error : "wrong checksum") +
                 "; reading it gets SIGBUS, discard() gives zeros");
        break;
      case region::Notice::kSwapWriteFailed:
        emit(EventKind::swap_write_failed, name, notice.value, "swap",
             error + "; the pages stay in memory, writes are tried again after swap_retry_timeout");
        break;
      case region::Notice::kSwapRecovered:
        emit(EventKind::swap_recovered, name, 0, "swap", "a write succeeded again");
        break;
      case region::Notice::kMemoryExhausted:
        emit(EventKind::memory_exhausted, name, notice.value * kPageSize, "budget",
             "faults wait, and nothing more can be reclaimed: raise the budget, or lower reservations and pins");
        break;
      case region::Notice::kNotReclaimable:
        emit(EventKind::not_reclaimable, name, kPageSize, "isolation",
             "page " + std::to_string(notice.value) + ": " + error +
                 "; the kernel refuses to move it (mlock or other protection)");
        break;
    }
  }
}

}  // namespace vmm
