// Workload: one thread that does random things to the guests of a world, and checks what it sees.
// Everything follows from the seed but the interleaving of threads.
// Thread-safety: run() on its own thread; progress() from any.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "stress/page_shadow.h"
#include "stress/scratch_file.h"
#include "stress/world.h"

namespace vmm::stress {

class Workload {
 public:
  // Errors: those of ScratchFile::create.
  static Result<std::unique_ptr<Workload>> create(World& world, unsigned thread);

  // Until `stop` is set; then pins are dropped, and a seat is left for another thread to drop.
  void run(const std::atomic<bool>& stop);

  struct Progress {
    std::uint64_t number = 0;  // operations begun
    Op op = Op::none;
    std::uintptr_t address = 0;  // in a guest, where it works
  };
  Progress progress() const noexcept;

  // After run(). How often each operation was done and how long it took; refusals that are part of the rules.
  struct Done {
    std::uint64_t count = 0;
    std::chrono::nanoseconds total{}, longest{};
  };
  const std::array<Done, kOps>& done() const noexcept { return done_; }
  std::uint64_t refused() const noexcept { return refused_; }
  std::uint64_t went_native() const noexcept { return went_native_; }

 private:
  struct HeldPin {
    std::uint64_t tenant;  // id; the tenant itself may be gone
    Place* place;
    std::uint64_t first, pages;
    Pin pin;
  };
  struct Range {
    std::uint64_t first, pages;
  };

  Workload(World& world, unsigned thread, ScratchFile scratch);
  Op choose() noexcept;
  void on_tenant(Place& place, Tenant& tenant, Op op);
  void on_page(Tenant& tenant, Op op);
  void bulk(Tenant& tenant, Op op);
  void discard(Tenant& tenant);
  void pin(Place& place, Tenant& tenant);
  void unpin();
  void device_in(Tenant& tenant);
  void device_out(Tenant& tenant);
  void reclaim(Tenant& tenant);
  void configure(Tenant& tenant);
  void rehome(Tenant& tenant);
  void seat(Tenant& tenant);
  void go_native(const Place& place, Tenant& tenant);
  void replace(Place& place, Op op);
  std::uint64_t any_page(Tenant& tenant) noexcept;
  Range any_range(Tenant& tenant, std::uint64_t most) noexcept;
  Kind any_kind() noexcept;
  Actor me(Op op) const noexcept { return {thread_, number_.load(std::memory_order_relaxed), op}; }
  void at(const Tenant& tenant, std::uint64_t page) noexcept;

  World& world_;
  const unsigned thread_;
  base::Random random_;
  ScratchFile scratch_;
  std::unique_ptr<std::byte[]> buffer_memory_;
  std::byte* buffer_;  // kPages of the scratch file, aligned for O_DIRECT
  std::uint64_t cursor_ = 0;
  std::vector<HeldPin> pins_;
  Seat seat_;
  std::array<Done, kOps> done_{};
  std::uint64_t refused_ = 0;
  std::uint64_t went_native_ = 0;
  std::atomic<std::uint64_t> number_{0};
  std::atomic<Op> op_{Op::none};
  std::atomic<std::uintptr_t> address_{0};
};

}  // namespace vmm::stress
