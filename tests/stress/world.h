// World: one host under stress with its places for guests. Guests of long-lived places stay for the whole run;
// others are created and destroyed all the time.
// Thread-safety: as commented; build() and the end by one thread, with no worker running.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "base/random.h"
#include "stress/tenant.h"
#include "vmm/host.h"

namespace vmm::stress {

struct WorldOptions {
  Isolation isolation = Isolation::automatic;
  SwapIo swap_io = SwapIo::automatic;
  Management management = Management::on_demand;
  std::string swap_directory;
  std::uint64_t seed = 1;
  std::uint64_t shrink = 1;  // the guests are so many times smaller
  bool share = false;        // equal pages of all guests are shared
};

// Two pools beside the root; the second one is limited.
inline constexpr const char* kPools[] = {"/one", "/one/two"};

// A place for a guest.
struct Place {
  GuestOptions options;  // template; the name gets a number in places that are not long-lived
  bool long_lived = false;
  std::shared_mutex mutex;         // shared: the tenant stays
  std::unique_ptr<Tenant> tenant;  // null: between two guests
};

class World {
 public:
  // The host and its long-lived guests. Errors: those of Host::create and create_guest.
  static Result<std::unique_ptr<World>> build(const WorldOptions& options);
  ~World();

  // Where the machine has one node, each of two processors is taken for a node of its own, so that guests change homes
  // all the same: everything happens but that memory is on the one or the other.
  static bool makes_up_nodes();

  Host& host() noexcept { return host_; }
  const WorldOptions& options() const noexcept { return options_; }
  std::vector<std::unique_ptr<Place>>& places() noexcept { return places_; }
  std::uint64_t budget() const noexcept { return budget_; }

  // The place's mutex is held exclusively. `random` varies the options. Ends the process on unexpected errors;
  // a refusal leaves the place empty.
  void create(Place& place, base::Random& random);

  // Seats whose threads have ended, to be dropped later by another thread.
  void leave_seat(Seat seat);

  // Compares every page of every guest, then discards all and checks that nothing is held any more: memory, slots,
  // staging. Ends the process where that is not so. No worker runs.
  void settle();
  // The address that settle() looks at; 0 = it is not looking.
  std::uintptr_t settling() const noexcept { return settling_.load(std::memory_order_relaxed); }

  struct Events {
    std::atomic<std::uint64_t> seen{0}, exhausted{0}, stalled{0};
  };
  const Events& events() const noexcept { return events_; }

 private:
  explicit World(const WorldOptions& options) : options_(options) {}
  void saw(const Event& event);

  const WorldOptions options_;
  std::uint64_t budget_ = 0;
  Events events_;
  std::atomic<std::uintptr_t> settling_{0};
  std::mutex seats_mutex_;
  std::vector<Seat> seats_;
  Host host_;
  std::vector<std::unique_ptr<Place>> places_;
  static std::atomic<std::uint64_t> next_id_;
};

}  // namespace vmm::stress
