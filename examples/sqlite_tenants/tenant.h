// Tenant: one guest, the database in its memory, and the thread that works on it.
// And replay(): the same steps on ordinary memory.
//
// Thread-safety: look() at any time from any thread; everything else from the thread that made the tenant.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "memory_vfs.h"
#include "outcome.h"
#include "vmm/vmm.h"
#include "workload.h"

namespace tenants {

enum class Phase { loading, running, checking, done, failed };

const char* to_string(Phase phase) noexcept;

struct TenantOptions {
  std::string name;
  std::string pool = "/";
  std::string share_salt;  // tenants of equal salt show one copy of equal pages
  WorkloadOptions workload;
};

// Bytes of memory for such a database: half as much again as its rows, in whole huge pages.
std::uint64_t memory_for(const WorkloadOptions& options) noexcept;

// What a database came to. If it failed, `failure` says why and `digest` means nothing.
struct Verdict {
  std::string failure;
  std::uint64_t steps = 0;
  std::uint64_t transactions = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t digest = 0;
};

// A tenant at one moment.
struct TenantView {
  Phase phase = Phase::loading;
  std::uint64_t transactions = 0;
  std::uint64_t file_bytes = 0;
  vmm::GuestStats guest;
};

class Tenant {
 public:
  // Makes the guest and starts its thread, which loads the rows, runs transactions until `stop` and then
  // checks the database. The host and `stop` must outlive the tenant.
  static Outcome<std::unique_ptr<Tenant>> start(vmm::Host& host, const TenantOptions& options,
                                                const std::atomic<bool>& stop);
  // Waits for the thread: set `stop` before.
  ~Tenant();
  Tenant(const Tenant&) = delete;
  Tenant& operator=(const Tenant&) = delete;

  const TenantOptions& options() const noexcept { return options_; }
  TenantView look() const;
  // The phase is done or failed.
  bool ended() const noexcept;
  // Waits for the thread.
  const Verdict& verdict();

 private:
  Tenant(TenantOptions options, const std::atomic<bool>& stop) : options_(std::move(options)), stop_(stop) {}
  void work();
  void enter(Phase phase) noexcept { phase_.store(phase, std::memory_order_release); }

  const TenantOptions options_;
  const std::atomic<bool>& stop_;
  vmm::Guest guest_;
  std::unique_ptr<MemoryVfs> vfs_;
  std::atomic<Phase> phase_{Phase::loading};
  std::atomic<std::uint64_t> transactions_{0};
  Verdict verdict_;  // the thread's until it has ended
  std::thread thread_;
};

// Does `steps` steps of the tenant's workload on memory from the heap. Blocks until done.
Verdict replay(const TenantOptions& options, std::uint64_t steps);

}  // namespace tenants
