#include "host/host_core.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "base/error.h"
#include "host/options_check.h"
#include "os/memory_limit.h"
#include "os/nice.h"
#include "os/process_limits.h"
#include "os/random_bytes.h"
#include "os/swap_directory.h"
#include "policy/watch.h"

namespace vmm {
namespace {

HostOptions with_defaults(HostOptions options) {
  if (options.swap_directory.empty()) options.swap_directory = os::default_swap_directory();
  return options;
}

std::uint64_t growth_on(const topology::Topology& topology) {
  std::uint64_t processors = 0;
  for (const auto& node : topology.nodes()) processors += node.cpus.size();
  return policy::fastest_growth(processors);
}

}  // namespace

// Nine tenths of what the machine has, or of what the control group has left: the program needs some itself.
std::uint64_t HostCore::default_budget(std::uint64_t held) {
  const auto limit = os::memory_limit();
  auto room = limit.machine;
  if (limit.cgroup != 0) {
    const auto used = limit.cgroup_used - std::min(limit.cgroup_used, limit.cgroup_cache);
    const auto others = used - std::min(used, held);
    const auto left = limit.cgroup - std::min(limit.cgroup, others);
    room = room == 0 ? left : std::min(room, left);
  }
  return room / 10 * 9 / kPageSize * kPageSize;
}

const char* const HostCore::kOutgrows = "the guests could outgrow the budget faster than it can be watched";

HostCore::HostCore(const HostOptions& options, Capabilities capabilities, const topology::Topology& topology,
                   std::uint64_t budget, host::ForkGuard guard, os::ProcessMemory memory, os::Pagemap pagemap)
    : options_(options), capabilities_(std::move(capabilities)), topology_(topology), fork_guard_(std::move(guard)),
      pagemap_(std::move(pagemap)), move_(pagemap_.has_scan()), growth_(growth_on(topology_)),
      secret_(os::random_u64()), credit_(budget / kPageSize), arbiter_(options_, credit_, *this),
      watch_(std::move(memory), credit_), homes_random_(os::random_u64()) {}

namespace {

// That a thread with the nice value of this one would get it back.
Result<void> check_nice() {
  const auto own = os::thread_nice(0);
  if (!own) return tl::unexpected(own.error());
  const auto possible = os::can_lower_nice(*own);
  if (!possible) return tl::unexpected(possible.error());
  if (*possible) return {};
  return base::fail_errno(EPERM, "HostOptions::cpu_weights = true: threads would not get their nice values back",
                          "give the process CAP_SYS_NICE or a higher RLIMIT_NICE, or leave cpu_weights false");
}

}  // namespace

Result<std::shared_ptr<HostCore>> HostCore::create(const HostOptions& given, const topology::Topology& topology) {
  const auto options = with_defaults(given);
  auto capabilities = probe(options.swap_directory);
  const auto budget = options.memory != 0 ? options.memory : default_budget();
  const auto homes = std::count_if(topology.nodes().begin(), topology.nodes().end(),
                                   [](const topology::Node& node) { return !node.memory_only; });
  const auto buffers = static_cast<std::uint64_t>(homes) * host::NodeRuntime::overhead_pages() * kPageSize;
  if (auto r = host::check_host_options(options, budget, buffers, capabilities); !r) return tl::unexpected(r.error());
  if (options.cpu_weights)
    if (auto r = check_nice(); !r) return tl::unexpected(r.error());
  const bool full = capabilities.level == CapabilityLevel::full;
  const bool can_move = full || (capabilities.level == CapabilityLevel::user_mode && capabilities.has("uffdio_move") &&
                                 capabilities.has("wp_async") && capabilities.has("pagemap_scan"));
  const bool move = can_move && options.isolation != Isolation::write_protect;
  auto guard = host::ForkGuard::create();
  if (!guard) return tl::unexpected(guard.error());
  auto memory = os::ProcessMemory::open();
  if (!memory) return tl::unexpected(memory.error());
  // The baseline does without PAGEMAP_SCAN also where the kernel has it: one path, tested everywhere.
  auto pagemap = os::Pagemap::open(move);
  if (!pagemap) return tl::unexpected(pagemap.error());
  std::shared_ptr<HostCore> core(new HostCore(options, std::move(capabilities), topology, budget, std::move(*guard),
                                              std::move(*memory), std::move(*pagemap)));
  if (auto r = core->start(); !r) {
    core->shut_down();
    return tl::unexpected(r.error());
  }
  return core;
}

Result<void> HostCore::start() {
  auto bell = os::Doorbell::create();
  if (!bell) return tl::unexpected(bell.error());
  bell_ = std::move(*bell);
  auto poller = os::Poller::create();
  if (!poller) return tl::unexpected(poller.error());
  poller_ = std::move(*poller);
  if (const int e = poller_.add(bell_.fd(), 1)) return base::fail_errno(e, "epoll_ctl of the scheduler");
  notices_.set_bell(&bell_);
  credit_.set_waiter(this);
  if (auto r = make_sharing(); !r) return r;
  for (const auto& node : topology_.nodes()) {
    if (node.memory_only) continue;
    host::NodeRuntimeOptions made_with{options_, move_, sharing_.get(), topology_.nodes().size()};
    auto runtime = host::make_node_runtime(node, made_with, credit_, arbiter_, *this, notices_, clock_);
    if (!runtime) return tl::unexpected(runtime.error());
    nodes_.push_back(std::move(*runtime));
  }
  {
    base::MutexLock lock(control_);
    uses_.resize(nodes_.size());
  }
  stalls_.resize(nodes_.size());
  look_at_nodes();
  overhead_pages_ = host_overhead_pages();
  credit_.charge(overhead_pages_);
  arbiter_.set_overhead(overhead_pages_);
  if (options_.scheduler == Scheduler::automatic) {
    auto thread = os::Thread::start("vmm-sched", [this] { run(); });
    if (!thread) return tl::unexpected(thread.error());
    thread_ = std::move(*thread);
  }
  if (options_.scheduler == Scheduler::automatic && nodes_.size() > 1) {
    auto thread = os::Thread::start("vmm-home", [this] { run_moves(); });
    if (!thread) return tl::unexpected(thread.error());
    home_thread_ = std::move(*thread);
  }
  return start_server();
}

// Last: what it tells is there.
Result<void> HostCore::start_server() {
  if (options_.stats_socket.empty()) return {};
  const auto started = static_cast<std::uint64_t>(clock_.now().count());
  handler_ = std::make_unique<host::StatsHandler>(*this, options_.stats_control, started);
  host::StatsServerOptions options;
  options.path = options_.stats_socket;
  auto server = host::StatsServer::create(options, *handler_);
  if (!server) {
    auto error = std::move(server.error());
    error.operation = "HostOptions::stats_socket: " + error.operation;
    return tl::unexpected(std::move(error));
  }
  server_ = std::move(*server);
  return {};
}

Result<void> HostCore::make_sharing() {
  if (options_.share_scan_ghz == 0 || !managing_possible()) return {};
  auto secret = sharing::ProcessSecret::create();
  if (!secret) return tl::unexpected(secret.error());
  auto shown = sharing::ShownFrames::create();
  if (!shown) return tl::unexpected(shown.error());
  auto memory = os::ProcessMemory::open();
  if (!memory) return tl::unexpected(memory.error());
  const auto limit = os::max_map_count();
  if (!limit) return tl::unexpected(limit.error());
  const auto in_use = os::maps_in_use();
  if (!in_use) return tl::unexpected(in_use.error());
  sharing_ = std::make_unique<host::SharingParts>(*secret, std::move(*shown), std::move(*memory),
                                                  sharing::MappingBudget::most_of(*limit, *in_use));
  return {};
}

HostCore::~HostCore() = default;

void HostCore::shut_down() {
  // The event thread would wait for itself.
  VMM_CHECK(!events_.inside());
  // A verb that is under way goes on as a call of any other thread would: it ends with the guests at the latest.
  if (server_ != nullptr) server_->stop();
  events_.stop();
  event_thread_.join();
  stop_.store(true, std::memory_order_release);
  if (bell_.fd() >= 0) bell_.ring();
  thread_.join();
  moves_.stop();
  home_thread_.join();
  {
    base::MutexLock lock(control_);
    down_ = true;
  }
  // One by one, without a list: ending needs no memory.
  for (std::shared_ptr<GuestCore> guest;; guest.reset()) {
    {
      base::MutexLock list(list_mutex_);
      for (auto* g : list_)
        if ((guest = g->weak_from_this().lock()) != nullptr) break;
    }
    if (guest == nullptr) break;
    end_guest(*guest);
  }
  if (server_ != nullptr) server_->finish();
  // All threads end before anything that they ring or wake goes: workers return credit, which rings fault threads.
  // Workers are there until then: they wake each other, and fault threads wake them.
  for (auto& node : nodes_) node->worker->stop();
  for (auto& node : nodes_) node->faults.reset();
  credit_.set_waiter(nullptr);
  nodes_.clear();
}

std::vector<std::shared_ptr<GuestCore>> HostCore::guests() {
  std::vector<std::shared_ptr<GuestCore>> all;
  base::MutexLock lock(list_mutex_);
  for (auto* guest : list_)
    if (auto strong = guest->weak_from_this().lock()) all.push_back(std::move(strong));
  return all;
}

void HostCore::credit_returned() noexcept {
  for (const auto& node : nodes_) node->faults->bell().ring();
}

void HostCore::memory_wanted() noexcept {
  for (const auto& node : nodes_) node->worker->wake();
}

void HostCore::memory_awaited() noexcept {
  for (const auto& node : nodes_) node->worker->wake_at_once();
}

void HostCore::zeros_wanted() noexcept {
  for (const auto& node : nodes_)
    if (node->zero_pool != nullptr) node->worker->want_zeros();
}

void HostCore::targets_wanted() noexcept {
  // Once, until the scheduler has looked.
  if (!targets_wanted_.exchange(true, std::memory_order_acq_rel)) bell_.ring();
}

void HostCore::stops_ended() noexcept { credit_returned(); }
void HostCore::stops_began() noexcept { bell_.ring(); }
void HostCore::memory_short() noexcept { memory_wanted(); }

void HostCore::emit(EventKind kind, const std::string& guest, std::uint64_t bytes, std::string mechanism,
                    std::string reason) {
  Event event{kind, clock_.now(), guest, bytes, std::move(mechanism), std::move(reason)};
  ledger_.push(event);
  events_.push(std::move(event));
}

tl::unexpected<Error> HostCore::forked(const char* verb) {
  return base::fail(Errc::forked_child, verb, "use the host in the process that made it");
}

Result<void> HostCore::set_callback(std::function<void(const Event&)> callback) {
  if (in_child()) return forked("on_event");
  if (options_.scheduler == Scheduler::automatic) {
    // Only where somebody listens.
    base::MutexLock lock(control_);
    if (!event_thread_.joinable() && callback != nullptr && !down_) {
      auto thread = os::Thread::start("vmm-events", [this] { events_.run(); });
      if (!thread) return tl::unexpected(thread.error());
      event_thread_ = std::move(*thread);
    }
  }
  events_.set_callback(std::move(callback));
  return {};
}

std::uint64_t HostCore::manage_below() const noexcept {
  return policy::manage_below(credit_.budget() * kPageSize, arbiter_.min_free(), growth_);
}

bool HostCore::cannot_watch() const noexcept {
  const auto budget = credit_.budget() * kPageSize;
  return options_.management == Management::automatic && !policy::can_watch(budget, growth_) &&
         guest_memory_ + overhead_pages_ * kPageSize + manage_below() > budget;
}

void HostCore::watch_again() noexcept {
  watch_again_.store(true, std::memory_order_release);
  bell_.ring();
}

}  // namespace vmm
