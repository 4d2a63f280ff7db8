#include "tenant.h"

#include <pthread.h>

#include <cinttypes>
#include <cstdlib>
#include <utility>

namespace tenants {
namespace {

Verdict failed(std::string why) {
  Verdict verdict;
  verdict.failure = std::move(why);
  return verdict;
}

// Integrity first: a digest of a damaged tree tells less.
void check(Database& database, Workload& workload, Verdict& verdict) {
  if (auto sound = database.check_integrity(); !sound) {
    verdict.failure = sound.error();
    return;
  }
  const auto digest = workload.digest();
  if (digest)
    verdict.digest = *digest;
  else
    verdict.failure = digest.error();
}

// Opens the database, steps while `more()`, calls `before_check()`, and checks.
template <class More, class BeforeCheck>
Verdict run(const MemoryVfs& vfs, const WorkloadOptions& options, More&& more, BeforeCheck&& before_check) {
  auto database = Database::open(vfs);
  if (!database) return failed(database.error());
  auto workload = Workload::create(*database, options);
  if (!workload) return failed(workload.error());
  Verdict verdict;
  while (verdict.failure.empty() && more(**workload))
    if (auto done = (*workload)->step(); !done) verdict.failure = done.error();
  verdict.steps = (*workload)->steps();
  verdict.transactions = (*workload)->transactions();
  before_check();
  if (verdict.failure.empty()) check(*database, **workload, verdict);
  verdict.file_bytes = vfs.size();
  return verdict;
}

}  // namespace

const char* to_string(Phase phase) noexcept {
  switch (phase) {
    case Phase::loading: return "loading";
    case Phase::running: return "running";
    case Phase::checking: return "checking";
    case Phase::done: return "done";
    case Phase::failed: return "failed";
  }
  return "?";
}

std::uint64_t memory_for(const WorkloadOptions& options) noexcept {
  const std::uint64_t rows = options.bytes + options.reference;
  const std::uint64_t bytes = rows + rows / 2 + 2 * vmm::MiB;
  return (bytes + vmm::kHugePageSize - 1) / vmm::kHugePageSize * vmm::kHugePageSize;
}

Outcome<std::unique_ptr<Tenant>> Tenant::start(vmm::Host& host, const TenantOptions& options,
                                               const std::atomic<bool>& stop) {
  std::unique_ptr<Tenant> tenant(new Tenant(options, stop));
  vmm::GuestOptions guest_options;
  guest_options.name = options.name;
  guest_options.pool = options.pool;
  guest_options.memory = memory_for(options.workload);
  guest_options.share_salt = options.share_salt;
  auto guest = host.create_guest(guest_options);
  if (!guest) return fail(guest.error().message());
  tenant->guest_ = std::move(*guest);

  auto vfs = MemoryVfs::create(options.name, tenant->guest_.memory(),
                               [&guest_memory = tenant->guest_](std::uint64_t offset, std::uint64_t bytes) {
                                 return guest_memory.discard(offset, bytes).has_value();
                               });
  if (!vfs) return fail(vfs.error());
  tenant->vfs_ = std::move(*vfs);
  tenant->thread_ = std::thread([raw = tenant.get()] { raw->work(); });
  return tenant;
}

Tenant::~Tenant() {
  if (thread_.joinable()) thread_.join();
}

void Tenant::work() {
  pthread_setname_np(pthread_self(), options_.name.substr(0, 15).c_str());
  auto seat = guest_.attach_current_thread();
  if (!seat) {
    verdict_ = failed(seat.error().message());
    return enter(Phase::failed);
  }
  const auto more = [this](const Workload& workload) {
    transactions_.store(workload.transactions(), std::memory_order_relaxed);
    if (workload.loaded() && phase_.load(std::memory_order_relaxed) == Phase::loading) enter(Phase::running);
    return !stop_.load(std::memory_order_relaxed);
  };
  verdict_ = run(*vfs_, options_.workload, more, [this] { enter(Phase::checking); });
  enter(verdict_.failure.empty() ? Phase::done : Phase::failed);
}

TenantView Tenant::look() const {
  return {phase_.load(std::memory_order_acquire), transactions_.load(std::memory_order_relaxed), vfs_->size(),
          guest_.stats().value()};
}

bool Tenant::ended() const noexcept {
  const Phase phase = phase_.load(std::memory_order_acquire);
  return phase == Phase::done || phase == Phase::failed;
}

const Verdict& Tenant::verdict() {
  if (thread_.joinable()) thread_.join();
  return verdict_;
}

Verdict replay(const TenantOptions& options, std::uint64_t steps) {
  struct Free {
    void operator()(void* memory) const noexcept { std::free(memory); }
  };
  const std::uint64_t bytes = memory_for(options.workload);
  // calloc: pages that are never touched cost nothing.
  const std::unique_ptr<void, Free> memory(std::calloc(bytes, 1));
  if (!memory) return failed(format("no memory: %" PRIu64 " MiB are needed", bytes / vmm::MiB));
  auto vfs = MemoryVfs::create(options.name + ".reference", {static_cast<std::byte*>(memory.get()), bytes});
  if (!vfs) return failed(vfs.error());
  return run(
      **vfs, options.workload, [steps](const Workload& workload) { return workload.steps() < steps; }, [] {});
}

}  // namespace tenants
