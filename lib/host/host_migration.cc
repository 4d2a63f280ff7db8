// How memory follows guests to their homes: the passes of migration, and the rates that they are told.
#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/text.h"
#include "host/host_core.h"
#include "policy/migration_rate.h"

namespace vmm {
namespace {

using host::HomeRecord;

// Less remote memory than this is not worth a pass over the guest.
constexpr double kNegligible = 0.01;
// Passes that moved next to nothing are followed by another after 2, 4, ... 64 periods.
constexpr unsigned kMostPatience = 6;

// Those of the guests whose memory is moving, while they do not end.
template <class F>
void each_under_way(const std::vector<std::shared_ptr<GuestCore>>& guests, F&& use) {
  for (const auto& guest : guests) {
    host::GatePass pass(guest->gate());
    if (pass && guest->migration().under_way()) use(*guest);
  }
}

}  // namespace

// Bytes of the node that are left free.
std::uint64_t HostCore::kept_free(const host::NodeRuntime& node) const {
  return static_cast<std::uint64_t>(arbiter_.min_free() * static_cast<double>(node.node.memory));
}

// Bytes a second that all guests together may be moved at.
double HostCore::migration_maximum(const HostOptions& options) noexcept {
  return options.migration_rate_max > 0 ? options.migration_rate_max * 1e6 : std::numeric_limits<double>::infinity();
}

// What others leave a guest that has just come, until the scheduler divides it anew.
void HostCore::begin_migration_rate(GuestCore& guest) {
  auto rate = migration_maximum(arbiter_.options());
  unsigned arriving = 1;
  each_under_way(guests(), [&](GuestCore& other) {
    if (&other == &guest) return;
    rate -= static_cast<double>(other.migration().rate());
    if (&other.node() == &guest.node()) ++arriving;
  });
  set_migration_rate(guest, std::max(rate, 0.0), arriving, clock_.now());
}

// A lower maximum holds at once; what a higher one brings is the scheduler's next look's to divide.
void HostCore::lower_migration_rates() {
  base::MutexLock lock(rates_mutex_);
  const auto maximum = migration_maximum(arbiter_.options());
  const auto all = guests();
  double sum = 0;
  each_under_way(all, [&](GuestCore& guest) { sum += static_cast<double>(guest.migration().rate()); });
  if (sum <= maximum) return;
  each_under_way(all, [&](GuestCore& guest) {
    const auto rate = static_cast<double>(guest.migration().rate());
    guest.migration().set_rate(static_cast<std::uint64_t>(rate * (maximum / sum)));
  });
}

// Says for each guest how fast what is elsewhere moves to its home, and begins passes.
void HostCore::follow(const std::vector<GuestCore*>& guests, base::Nanos now) {
  base::MutexLock lock(rates_mutex_);
  const auto maximum = migration_maximum(arbiter_.options());
  std::vector<GuestCore*> moving;
  for (auto* guest : guests) {
    auto& home = guest->home;
    auto& migration = guest->migration();
    if (home.changing) continue;
    if (const auto moves = home.moves.load(); moves != home.moves_seen) {
      home.moves_seen = moves;
      home.behind = 0;
      home.next_pass = {};
      home.fruitless_passes = 0;
      home.pass_told = false;
      home.some_stayed = false;
    }
    if (!migration.under_way()) {
      if (!home.pass_told) tell_pass(*guest, now);
      if (1 - home.local <= kNegligible && !home.some_stayed) continue;
      if (now < home.next_pass || guest->memory().is_shut()) continue;
      home.pass_told = false;
      migration.begin(guest->node().node.id);
    }
    moving.push_back(guest);
  }
  std::map<const host::NodeRuntime*, unsigned> arriving;
  for (auto* guest : moving) ++arriving[&guest->node()];
  for (auto* guest : moving)
    set_migration_rate(*guest, maximum / static_cast<double>(moving.size()), std::max(arriving[&guest->node()], 1U),
                       now);
}

// A pass is over: says what it brought, and when the next may begin.
void HostCore::tell_pass(GuestCore& guest, base::Nanos now) {
  auto& home = guest.home;
  const auto pass = guest.migration().pass();
  home.pass_told = true;
  // What was moved is worth another look soon; what stays is asked for less and less often.
  home.some_stayed = pass.stayed() > 0;
  home.fruitless_passes = pass.moved > pass.stayed() ? 0 : std::min(home.fruitless_passes + 1, kMostPatience);
  home.next_pass = now + options_.rebalance_period * (std::int64_t{1} << home.fruitless_passes);
  if (pass.moved + pass.stayed() == 0) return;
  const auto text = [](std::uint64_t pages) { return base::bytes_text(pages * kPageSize); };
  emit(EventKind::guest_migrated, guest.name(), pass.moved * kPageSize, "migration",
       text(pass.moved) + " moved to node " + std::to_string(guest.node().node.id) + "; stayed: " + text(pass.pinned) +
           " pinned or in use by a device, " + text(pass.no_memory) + " for lack of memory there, " +
           text(pass.refused) + " refused by the kernel");
}

// `arriving`: guests whose memory moves to its home, that one included. They divide what there is to be had.
void HostCore::set_migration_rate(GuestCore& guest, double maximum, unsigned arriving, base::Nanos now) {
  const auto& home = guest.home;
  const auto& node = guest.node();
  policy::MigrationSnapshot s;
  s.now = now;
  if (const auto last = home.last_move.load(); last != HomeRecord::kNever) s.rehomed = base::Nanos(last);
  s.homed_back = home.homed_back;
  s.period = options_.rebalance_period;
  s.resident = guest.memory().held() * kPageSize;
  // While a pass is under way there may be some that the census did not meet.
  const auto remote = static_cast<std::uint64_t>((1 - home.local) * static_cast<double>(s.resident));
  s.remote = std::max(remote, std::min(s.resident, policy::kRemainder));
  s.destination_memory = node.node.memory;
  s.min_free = arbiter_.min_free();
  const auto kept = kept_free(node);
  const std::uint64_t free = node.free;
  s.destination_free = free > kept ? kept + (free - kept) / arriving : free;
  const auto planned = policy::plan_migration_rate(s).bytes_per_second;
  if (planned == 0 && s.destination_free <= kept) guest.migration().set_full();
  const auto rate = static_cast<double>(planned) < maximum ? planned : static_cast<std::uint64_t>(maximum);
  guest.migration().set_rate(rate);
  node.worker->wake();
}

}  // namespace vmm
