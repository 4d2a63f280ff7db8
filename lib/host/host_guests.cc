// Guests of a host: admission, placement, what they may pin, and their end.
#include <algorithm>
#include <new>
#include <string>

#include "base/above.h"
#include "base/error.h"
#include "base/text.h"
#include "host/host_core.h"
#include "host/options_check.h"
#include "policy/placement.h"
#include "policy/watch.h"
#include "reclaim/swap_store.h"
#include "sharing/guest_frames.h"

namespace vmm {
namespace {

// The guest cannot hold more than its limit.
bool limited(const GuestOptions& o) { return o.limit != 0 && o.limit < o.memory; }

os::UffdFeatures features_of(const Capabilities& caps, bool move) {
  os::UffdFeatures f;
  f.move = move;
  f.wp_async = move;
  f.poison = caps.has("poison");
  f.remap = true;
  return f;
}

}  // namespace

std::uint64_t HostCore::overhead_of(const region::GuestMemory& m) {
  return (m.metadata_bytes() + reclaim::SwapStore::of(m).metadata_bytes() + m.page_table_bytes()) / kPageSize;
}

policy::PlacementSnapshot HostCore::placement_snapshot(const GuestOptions& options) {
  const auto held = options.limit != 0 ? std::min(options.limit, options.memory) : options.memory;
  policy::PlacementSnapshot snapshot;
  for (const auto& node : topology_.nodes()) {
    policy::PlacementNode n;
    n.id = node.id;
    n.memory = node.memory;
    n.memory_only = node.memory_only;
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      if (nodes_[i]->node.id == node.id) {
        n.promised = uses_[i].promised;
        n.reserved = uses_[i].reserved;
        n.load = nodes_[i]->load.load(std::memory_order_relaxed);
      }
    for (const auto& other : topology_.nodes())
      if (other.id != node.id)
        n.mean_distance += static_cast<double>(topology_.distance(node.id, other.id)) /
                           static_cast<double>(topology_.nodes().size() - 1);
    snapshot.nodes.push_back(n);
  }
  snapshot.min_free = arbiter_.min_free();
  snapshot.last_node = last_node_;
  snapshot.rule = options_.placement == InitialPlacement::round_robin ? policy::PlacementRule::round_robin
                                                                      : policy::PlacementRule::load_and_distance;
  snapshot.memory = held;
  snapshot.reservation = options.reservation;
  snapshot.bound = options.bind_memory;
  snapshot.affinity = options.node_affinity;
  return snapshot;
}

Result<host::NodeRuntime*> HostCore::place(const GuestOptions& options, std::string& reason) {
  const auto placement = policy::plan_placement(placement_snapshot(options));
  reason = placement.reason;
  last_node_ = placement.last_node;
  if (placement.node)
    if (auto* node = runtime_of(*placement.node)) return node;
  return base::fail(Errc::admission_refused, "placing guest \"" + options.name + "\": " + reason,
                    "lower the guest's memory or reservation, or widen node_affinity");
}

Result<std::unique_ptr<region::GuestMemory>> HostCore::make_memory(const GuestOptions& options, int node) {
  region::GuestMemoryOptions o;
  o.name = options.name;
  o.pages = options.memory / kPageSize;
  o.limit_pages = options.limit / kPageSize;
  o.node = node;
  o.bind = options.bind_memory;
  o.large_pages = options.large_pages && options_.alloc_guest_large_page;
  o.core_dump = options.core_dump;
  o.move = move_;
  o.userfaultfd = managing_possible();
  o.features = features_of(capabilities_, move_);
  o.read_window = options_.swap_in_batch_pages;
  o.id = next_id_++;
  auto memory = region::GuestMemory::create(o, credit_, pagemap_);
  if (!memory) return tl::unexpected(memory.error());
  auto store = reclaim::SwapStore::create(swap_file_of(options), secret_, managing_possible() ? options.memory : 0);
  if (!store) return tl::unexpected(store.error());
  (*memory)->backing = std::move(*store);
  if (sharing_ && options.page_sharing)
    (*memory)->frames = std::make_unique<sharing::GuestFrames>(**memory, sharing_->stores, sharing_->shown,
                                                               sharing_->mappings);
  return memory;
}

// At its limit a guest exchanges pages, also when all of it is reserved: the ones leave before the others come.
reclaim::SwapFileOptions HostCore::swap_file_of(const GuestOptions& o) const {
  const bool exchanges = limited(o) || o.pool != "/";
  const auto limit = limited(o) ? o.limit : o.memory;
  const auto never_leaves = exchanges ? std::min(o.reservation, limit - std::min(limit, kHugePageSize)) : o.reservation;
  reclaim::SwapFileOptions file;
  file.directory = o.swap_directory.empty() ? options_.swap_directory : o.swap_directory;
  file.guest_name = o.name;
  file.bytes = managing_possible() ? o.memory - never_leaves : 0;
  file.persist = options_.swap_persist;
  return file;
}

Result<void> HostCore::check(const GuestOptions& options) {
  if (down_) return base::fail(Errc::shutting_down, "create_guest \"" + options.name + "\"", "create guests earlier");
  if (auto r = host::check_guest_options(options, topology_); !r) return r;
  {
    base::MutexLock lock(list_mutex_);
    if (std::any_of(list_.begin(), list_.end(), [&](const auto* g) { return g->name() == options.name; }))
      return base::invalid("GuestOptions::name = \"" + options.name + "\"", "names are unique within a host");
  }
  set_pinned_beyond();
  const auto entitlement = host::entitlement_of(options);
  if (auto r = arbiter_.admit(options.name, entitlement, host::table_bytes(options.memory)); !r) return r;
  if (managing_possible()) return {};
  // Nobody could keep it to a limit.
  if (limited(options)) {
    const auto what = "guest \"" + options.name + "\": GuestOptions::limit = " + std::to_string(options.limit);
    if (auto r = manageable(what); !r) return r;
  }
  const auto budget = static_cast<double>(credit_.budget() * kPageSize) * (1.0 - arbiter_.min_free());
  return host::check_fits(options, static_cast<std::uint64_t>(budget), guest_memory_ + overhead_pages_ * kPageSize,
                          capabilities_);
}

Result<std::shared_ptr<GuestCore>> HostCore::create_guest(const GuestOptions& options) {
  if (in_child())
    return base::fail(Errc::forked_child, "create_guest \"" + options.name + "\"", "create a host in this process");
  std::shared_ptr<GuestCore> guest;
  std::string reason;
  {
    base::MutexLock lock(control_);
    if (auto r = check(options); !r) return tl::unexpected(r.error());
    auto node = place(options, reason);
    if (!node) return tl::unexpected(node.error());
    auto memory = make_memory(options, (*node)->node.id);
    if (!memory) return tl::unexpected(memory.error());
    {
      base::MutexLock list(list_mutex_);
      list_.reserve(list_.size() + 1);
    }
    auto& m = **memory;
    m.table.set_bell(&(*node)->faults->bell());
    guest = std::make_shared<GuestCore>(shared_from_this(), options, **node, std::move(*memory));
    // From here on threads know of the guest: if it cannot be made whole they are told to forget it.
    struct Undo {
      GuestCore* guest;
      ~Undo() {
        if (guest != nullptr) guest->end();
      }
    } undo{guest.get()};
    if (managing_possible()) {
      if (auto r = (*node)->faults->add(m); !r) return tl::unexpected(r.error());
    }
    if (auto r = (*node)->worker->attach(m, guest->migration(), salt_of(*guest)); !r) return tl::unexpected(r.error());
    arbiter_.add(m, guest->balloon(), host::entitlement_of(options));
    undo.guest = nullptr;
    const auto pages = overhead_of(m);
    m.arbitration.overhead = pages;
    overhead_pages_ += pages;
    credit_.charge(pages);
    count_promise(**node, promise_of(m), true);
    guest_memory_ += options.memory;
    base::MutexLock list(list_mutex_);
    list_.push_back(guest.get());
  }
  struct EndUnlessWhole {
    HostCore& host;
    GuestCore* guest;
    ~EndUnlessWhole() {
      if (guest != nullptr) host.end_guest(*guest);
    }
  } unless_whole{*this, guest.get()};
  emit(EventKind::guest_created, options.name, options.memory, "placement", reason);
  advise_on_overcommitment(options.name);
  const bool scarce = credit_.free() * kPageSize < manage_below() && managing_possible();
  // A native guest takes what it wants: nobody could keep it to a limit.
  const bool has_limit = limited(options) || arbiter_.pool_limited(options.pool);
  const bool unwatched = cannot_watch();
  if (managing_possible() &&
      (options_.management == Management::at_creation || scarce || has_limit || unwatched)) {
    const char* why = has_limit                                            ? "it has a limit, or its pool"
                      : scarce                                             ? "free memory is short"
                      : options_.management == Management::at_creation ? "asked for at creation"
                                                                           : kOutgrows;
    if (auto r = guest->manage(why); !r) return tl::unexpected(r.error());
  }
  unless_whole.guest = nullptr;
  watch_again();
  return guest;
}

void HostCore::advise_on_overcommitment(const std::string& guest) {
  const auto budget = credit_.budget() * kPageSize;
  if (guest_memory_ > budget + budget / 2)
    emit(EventKind::overcommit_advice, guest, guest_memory_, "admission",
         "guests of " + base::bytes_text(guest_memory_) + " in " + base::bytes_text(budget) +
             ": more than 1.5 times the memory is overcommitted");
}

void HostCore::end_guest(GuestCore& guest) noexcept {
  GuestCore::Ended ended;
  {
    base::MutexLock lock(control_);
    {
      base::MutexLock list(list_mutex_);
      if (std::erase(list_, &guest) == 0) return;
    }
    const auto promise = promise_of(guest.memory());
    const auto memory = guest.options().memory;
    const auto& node = guest.node();
    try {
      report_reclaim(guest);
    } catch (const std::bad_alloc&) {
      // As below.
    }
    ended = guest.end();
    overhead_pages_ -= ended.overhead;
    credit_.release(ended.overhead);
    count_promise(node, promise, false);
    guest_memory_ -= memory;
  }
  try {
    emit(EventKind::guest_destroyed, guest.name(), 0, "", "its handle was dropped, or the host ended");
  } catch (const std::bad_alloc&) {
    // No memory for the news of it; the guest has ended all the same.
  }
  watch_again();
}

// What guests other than `except` have pinned.
HostCore::Pinned HostCore::pinned(const GuestCore* except) {
  Pinned all;
  for (const auto& guest : guests()) {
    if (guest.get() == except) continue;
    host::GatePass pass(guest->gate());
    if (!pass) continue;
    const auto pages = guest->memory().counters.pinned.load(std::memory_order_relaxed);
    const auto reserved = guest->memory().arbitration.reserved.load(std::memory_order_relaxed);
    all.pages += pages;
    all.beyond_reservation += pages > reserved ? pages - reserved : 0;
  }
  return all;
}

std::uint64_t HostCore::pinnable(GuestCore& guest) {
  using base::above;
  // Half the budget stays for what moves: with everything pinned nobody could be served. And what is pinned beyond a
  // guest's reservation comes from what nobody has reserved.
  const auto others = pinned(&guest);
  const auto& a = guest.memory().arbitration;
  const auto limit = a.limit.load(std::memory_order_relaxed);
  const auto unreserved = arbiter_.pinnable_beyond(others.beyond_reservation);
  return std::min({limit != 0 ? limit : guest.memory().pages(), arbiter_.pinnable_in_pools(guest.memory()),
                   above(credit_.budget() / 2, others.pages), unreserved + a.reserved.load(std::memory_order_relaxed)});
}

void HostCore::set_pinned_beyond() { arbiter_.set_pinned_beyond(pinned(nullptr).beyond_reservation); }

void HostCore::count_promise(const host::NodeRuntime& node, const Promise& promise, bool made) {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].get() != &node) continue;
    uses_[i].promised += made ? promise.most : -promise.most;
    uses_[i].reserved += made ? promise.reserved : -promise.reserved;
  }
  reserved_ += made ? promise.reserved : -promise.reserved;
}

HostCore::Promise HostCore::promise_of(const region::GuestMemory& m) {
  const auto limit = m.arbitration.limit.load(std::memory_order_relaxed);
  return {(limit != 0 ? std::min(limit, m.pages()) : m.pages()) * kPageSize,
          m.arbitration.reserved.load(std::memory_order_relaxed) * kPageSize};
}

void HostCore::count_seat(GuestCore& guest, bool taken) noexcept {
  auto& overhead = guest.memory().arbitration.overhead;
  if (taken) {
    ++overhead;
    ++overhead_pages_;
    credit_.charge(1);
  } else {
    --overhead;
    --overhead_pages_;
    credit_.release(1);
  }
}

}  // namespace vmm
