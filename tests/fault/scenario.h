// Scenario: everything a program does with a host and two guests, each page compared with an oracle; run while
// something fails underneath. Every verb may end in a clean Error or go on; contents may never be wrong.
// Thread-safety: one thread; progress() may be read by any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "support/page_oracle.h"
#include "support/way.h"
#include "vmm/vmm.h"

namespace vmm::test {

struct ScenarioOptions {
  Way way = kMove;
  Management management = Management::at_creation;
  std::string swap_directory;
  std::uint64_t guest_memory = 2 * MiB;
};

struct ScenarioResult {
  bool host_made = false;
  unsigned guests_made = 0;
  unsigned errors = 0;             // verbs that returned an Error
  std::uint64_t wrong = 0;         // pages with wrong contents
  std::uint64_t lost = 0;          // pages whose read got a signal
  std::uint64_t counted_lost = 0;  // lost pages by the guests' own account, when the last was read
  std::uint64_t swapped_out = 0;   // bytes
  std::string complaint;           // first wrong page or unclean error; empty = none
};

class Scenario {
 public:
  explicit Scenario(const ScenarioOptions& options) : options_(options) {}

  ScenarioResult run();
  // Grows with every verb and page; no growth for long means that something waits.
  std::uint64_t progress() const noexcept { return progress_.load(std::memory_order_relaxed); }
  // Called round each call of the library, for tests that let something fail only there.
  void (*enter_api)() noexcept = nullptr;
  void (*leave_api)() noexcept = nullptr;

 private:
  struct Tenant;
  template <class F>
  auto api(F&& f);
  template <class T>
  bool good(const char* verb, const Result<T>& result);
  void check(Tenant& tenant, std::uint64_t first, std::uint64_t end, const char* when);
  void write(Tenant& tenant, std::uint64_t first, std::uint64_t end);
  void discard(Tenant& tenant, std::uint64_t first, std::uint64_t end);
  void pin(Tenant& tenant, std::uint64_t first, std::uint64_t end);
  void live(Tenant& tenant);
  void complain(std::string text);

  const ScenarioOptions options_;
  ScenarioResult result_;
  std::atomic<std::uint64_t> progress_{0};
};

}  // namespace vmm::test
