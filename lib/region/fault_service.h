// FaultService: the thread of one node that answers the page faults of the guests homed there.
//
// It reads the guests' userfaultfds through one epoll and answers each missing page by its state: fills untouched
// ones, gives isolated ones back, asks the PageSource for swapped ones. It allocates nothing, logs nothing, waits
// for nothing but events, takes no Mutex, and never touches guest memory. What it cannot answer at once (a page
// that somebody works on, no credit, no buffer) it keeps and looks at again when that changes.
// Thread-safety: public functions may be called from any thread but its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/clock.h"
#include "os/poller.h"
#include "os/thread.h"
#include "policy/hybrid_poll.h"
#include "region/guest_memory.h"
#include "region/notice.h"
#include "region/page_source.h"
#include "region/zero_pool.h"
#include "vmm/result.h"

namespace vmm::region {

// Told by fault threads that memory is short or that zeroed pages are wanted. Lock-free.
class MemoryDemand {
 public:
  virtual ~MemoryDemand() = default;
  virtual void memory_wanted() noexcept = 0;
  virtual void memory_awaited() noexcept { memory_wanted(); }  // somebody waits for it
  virtual void zeros_wanted() noexcept = 0;
  virtual void targets_wanted() noexcept = 0;  // free memory has left the marks plan_from and plan_to
};

struct FaultServiceOptions {
  int node = 0;
};

class FaultService {
 public:
  // `source`, `credit`, `demand`, `notices` and `zero_pool` (may be null) outlive the service.
  // Errors: EMFILE, ENOMEM, EAGAIN (threads).
  static Result<std::unique_ptr<FaultService>> create(const FaultServiceOptions& options, Credit& credit,
                                                      PageSource& source, MemoryDemand& demand, Notices& notices,
                                                      ZeroPool* zero_pool);
  // Ends the thread. All guests have been removed.
  ~FaultService();

  // Faults of the guest are answered from now on. Blocks until the thread knows it. Errors: ENOSPC of epoll.
  Result<void> add(GuestMemory& guest);
  // The thread knows nothing of the guest any more. Blocks until reads in flight for it have ended.
  void remove(GuestMemory& guest) noexcept;
  // A place for a guest that another service answers still: take_over() then cannot fail. Errors: as add().
  Result<void> reserve(GuestMemory& guest);
  void cancel(GuestMemory& guest) noexcept;
  // The guest, for which there is a place, and which `from` answers, is answered here. Blocks until reads in flight for
  // it there have ended. Its faults wait meanwhile; none is forgotten.
  void take_over(GuestMemory& guest, FaultService& from) noexcept;

  // Begins to bring swapped pages of [first, end) back, whichever service answers the guest. Does not wait; false: four
  // such are under way already.
  static bool prefetch(GuestMemory& guest, std::uint64_t first, std::uint64_t end);
  // Waits until no prefetch of that guest is under way.
  static void wait_prefetched(GuestMemory& guest);

  const os::Doorbell& bell() const noexcept { return bell_; }
  // Of all guests that it has answered, those that have ended included.
  const FaultLatency& latency() const noexcept { return latency_; }
  FaultProgress progress() const noexcept;
  FaultProgress helper_progress() const noexcept { return source_.helper_progress(); }

 private:
  // A fault that is not answered yet.
  struct Fault {
    GuestMemory* guest = nullptr;
    std::uint64_t page = 0;
    base::Nanos since{};
    bool write = false;
    bool write_protected = false;
    int thread = 0;  // who waits
    Outcome outcome = Outcome::done;
    bool waited_for_zeros = false;
    bool sampled = false;  // the page was in staging and watched
    base::Nanos stopped_since{};  // 0: it does not wait for the end of a stop
  };
  struct Command;

  FaultService(const FaultServiceOptions& options, Credit& credit, PageSource& source, MemoryDemand& demand,
               Notices& notices, ZeroPool* zero_pool);
  void run() noexcept;
  // How many tags were stored, and whether completions were taken.
  struct Wakeup {
    int tags = 0;
    bool reaped = false;
  };
  Wakeup wait(std::span<std::uint64_t> tags, bool kernel_asked) noexcept;
  void post(Command& command) noexcept;
  void ask(Command& command) noexcept;
  void take_commands() noexcept;
  void finish_removals() noexcept;
  void pump_prefetches() noexcept;
  void drain(GuestMemory& guest) noexcept;
  static void refuse_moved(GuestMemory& guest, std::uint64_t address) noexcept;
  void handle(Fault fault) noexcept;
  void retry_deferred() noexcept;
  bool already_deferred(const GuestMemory& guest, std::uint64_t page) const noexcept;

  bool reap_watched() noexcept;
  Outcome answer_watched(Fault& fault) noexcept;
  static void note_stop(Fault& fault, Outcome outcome) noexcept;
  Outcome answer(Fault& fault) noexcept;
  Outcome fill(const Fault& fault, PageWord word) noexcept;
  bool could_be_huge(const GuestMemory& guest, std::uint64_t page) const noexcept;
  bool fill_huge(GuestMemory& guest, std::uint64_t page, PageWord word, bool touched) noexcept;
  void fill_huge_ahead(GuestMemory& guest, std::uint64_t first) noexcept;
  Outcome confirm(const Fault& fault, PageWord word) noexcept;
  Outcome supply_zeros(const Fault& fault) noexcept;
  Outcome rescue(const Fault& fault, PageWord word) noexcept;
  bool rescue_by_copy(const Fault& fault, PageWord word) noexcept;
  Outcome copy_back(const Fault& fault, PageWord word) noexcept;
  Outcome reject(const Fault& fault, PageWord word) noexcept;
  void check_memory() noexcept;

  const FaultServiceOptions options_;
  Credit& credit_;
  PageSource& source_;
  MemoryDemand& demand_;
  Notices& notices_;
  ZeroPool* const zero_pool_;
  os::Poller poller_;
  os::Doorbell bell_;
  os::Mapping zeros_;  // 2 MiB that read as the zero page: the source of fills
  std::atomic<Command*> commands_{nullptr};
  std::atomic<std::size_t> places_{0};  // taken in guests_, reserved ones included
  std::atomic<std::uint64_t> answered_{0};
  std::atomic<std::uint64_t> address_{0};
  FaultLatency latency_;

  // The thread's own.
  std::vector<Fault> deferred_;         // capacity kMostDeferred, never grown
  std::vector<GuestMemory*> guests_;    // capacity kMostGuests
  std::vector<Command*> removing_;      // capacity kMostGuests
  policy::HybridPoll poll_;
  bool stop_ = false;
  bool pumping_ = false;                // a prefetch is under way

  os::Thread thread_;  // last: runs over all of the above
};

}  // namespace vmm::region
