// Worker: the thread of one node that takes memory from the guests homed there, on request or when the host is
// short, moves their memory after them when they have come from another node, and zeroes huge pages ahead while memory
// is not short. Works in slices, so that a request never waits long.
// Thread-safety: public functions may be called from any thread but its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "host/arbiter.h"
#include "host/guest_sampling.h"
#include "os/poller.h"
#include "os/process_memory.h"
#include "os/thread.h"
#include "host/share_rates.h"
#include "migrate/guest_migration.h"
#include "reclaim/evictor.h"
#include "reclaim/swap_out.h"
#include "region/zero_pool.h"
#include "sharing/sharer.h"

namespace vmm::host {

// How the guests of a node share pages.
struct WorkerSharing {
  sharing::Sharer* sharer = nullptr;  // null: not at all
  const os::ProcessMemory* memory = nullptr;
  // Changed while it runs.
  const ShareRates* rates = nullptr;
};

class Worker {
 public:
  // What it uses outlives it. `clock` is the host's.
  // Errors: EMFILE, ENOMEM, EAGAIN (threads).
  static Result<std::unique_ptr<Worker>> create(int node, region::Credit& credit, Arbiter& arbiter,
                                                std::unique_ptr<reclaim::SwapOut> out, region::ZeroPool* zero_pool,
                                                region::Notices& notices, const base::Clock& clock,
                                                const WorkerSharing& sharing);
  ~Worker() { stop(); }
  // Ends its thread; it can be woken still, in vain. Idempotent.
  void stop() noexcept;

  // The guest's memory may be taken from now on, follows it to its home, and is shared within the salt, if its frames
  // are set. Errors: ENOMEM.
  Result<void> attach(region::GuestMemory& guest, migrate::GuestMigration& migration, const std::string& salt)
      VMM_EXCLUDES(mutex_);
  // Nothing of the guest is touched any more; its writes in flight have ended. Blocks.
  void detach(region::GuestMemory& guest) VMM_EXCLUDES(mutex_);
  // A place for one guest more: take_over() then cannot fail. One thread at a time attaches or reserves. Errors:
  // ENOMEM.
  Result<void> reserve() VMM_EXCLUDES(mutex_);
  // The guest, which is `from`'s, is this worker's, with all that is known of it. Its writes in flight have ended.
  // Blocks.
  void take_over(region::GuestMemory& guest, Worker& from) noexcept VMM_EXCLUDES(mutex_);
  // Takes up to `pages` pages and waits for it. Returns how many left memory. Errors: ENOMEM (none left).
  Result<std::uint64_t> reclaim(region::GuestMemory& guest, std::uint64_t pages) VMM_EXCLUDES(mutex_);
  // Makes the guest native again if that can be; between slices, so that nothing is being taken. Blocks. False as well
  // for a guest that is not this worker's.
  bool unmanage(region::GuestMemory& guest) VMM_EXCLUDES(mutex_);

  // Looks at all pages of all of its guests for equal ones. Blocks.
  void share_now() noexcept VMM_EXCLUDES(mutex_);
  // Reads all pages of its guests that may share, for the estimate. Blocks. Errors: ENOMEM.
  Result<void> estimate_sharing(sharing::ShareEstimator& estimator) VMM_EXCLUDES(mutex_);

  // Between the two it stands still: it takes no page, ends no write, drops nothing, so that who looks at the guests'
  // memory and page words finds them agreed. Blocks until it does. A second holder waits for the first. Not for long:
  // where faults wait for memory it goes on by itself after a second, otherwise after ten.
  void hold() noexcept VMM_EXCLUDES(mutex_);
  void let_go() noexcept VMM_EXCLUDES(mutex_);

  // Looks at what is sampled, at the time `now`: soon, or before it returns. Not from its own thread.
  void sample(base::Nanos now) noexcept;
  void sample_and_wait(base::Nanos now) noexcept VMM_EXCLUDES(mutex_);

  // Looks at the host's free memory soon: within kRestMs. Any thread, fault threads included.
  void wake() noexcept;
  // At once: somebody waits. As wake().
  void wake_at_once() noexcept;
  // Zeroes huge pages ahead soon. As wake().
  void want_zeros() noexcept;
  // Makes some huge pages of small ones when it has nothing else to do. As wake().
  void want_mending() noexcept;

  os::AsyncIo::Backend backend() const noexcept { return out_->backend(); }

 private:
  static constexpr std::uint64_t kSlicePages = 1024;  // 4 MiB: about a millisecond of parking and hashing
  // A page may be three chances warm; the fourth round takes it.
  static constexpr int kRounds = 5;

  struct Member {
    std::unique_ptr<reclaim::Evictor> evictor;
    std::unique_ptr<GuestSampling> sampling;
    migrate::GuestMigration* migration = nullptr;
    std::uint64_t mend_hand = 0;  // chunk
    std::string salt;
    double share_credit = 0;      // pages that may be looked at
    bool share_noted = false;     // the Sharer knows it
    bool share_due = false;       // a whole look that was asked for is not at its end
    unsigned share_fruitless = 0;   // looks at all of it, the last ones, that found nothing
    std::uint64_t share_found = 0;  // pages, as counted when the last began
    std::uint64_t next_estimated = 0;  // page
    base::Nanos next_broken{};    // when pages that were written since they were shared are looked for
  };
  struct Request {
    enum Kind {
      kAttach, kDetach, kReserve, kRelease, kTake, kReclaim, kUnmanage, kSample, kShare, kEstimate, kHold
    } kind;
    region::GuestMemory* guest;
    std::uint64_t pages = 0;    // reclaim: wanted
    migrate::GuestMigration* migration = nullptr;  // attach
    Member* member = nullptr;   // release, take: where it is put, or is
    const std::string* salt = nullptr;  // attach
    base::Nanos now{};          // sample
    sharing::ShareEstimator* estimator = nullptr;
    std::uint64_t freed = 0;         // reclaim: what has left memory
    std::uint64_t freed_before = 0;  // the guest's counter when it began
    std::uint64_t handed = 0;        // pages handed on to be written
    bool begun = false;
    int idle_rounds = 0;
    bool result = false;
    bool done = false;
    int error = 0;              // errno
    Request* next = nullptr;    // in the queue
  };

  Worker(region::Credit& credit, Arbiter& arbiter, std::unique_ptr<reclaim::SwapOut> out, region::ZeroPool* zero_pool,
         region::Notices& notices, const base::Clock& clock, const WorkerSharing& sharing);
  void submit(Request& request) noexcept VMM_EXCLUDES(mutex_);
  void push_locked(Request& request) noexcept VMM_REQUIRES(mutex_);
  void pop_locked() noexcept VMM_REQUIRES(mutex_);
  void stand_still_locked() noexcept VMM_REQUIRES(mutex_);
  // How long to sleep: -1 = until somebody rings. `resting`: but for what cannot wait, whoever rings.
  struct Sleep {
    int ms = -1;
    bool resting = false;
  };

  void run();
  Sleep look();
  Sleep sleep_after(bool busy, bool pressure) const noexcept;
  bool may_rest() const noexcept;
  bool serve_requests() VMM_EXCLUDES(mutex_);
  bool serve(Request& request);
  bool reclaim_slice(Request& request);
  bool relieve_pressure();
  std::uint64_t free_pages_of(Member& member, const policy::ReclaimStep& step, base::Nanos grace, base::Nanos now);
  bool roomy() const noexcept;
  bool zero_ahead();
  void mend_some() noexcept;
  base::Nanos migrate_some() noexcept;
  void sample_members(base::Nanos now);
  bool shares(const Member& member) const noexcept;
  void begin_sharing(Member& member);
  base::Nanos share_some() noexcept;
  bool give_up_frames() noexcept;
  std::int64_t uncharged() const noexcept;
  bool grown() noexcept;
  bool share_slice(bool begin) noexcept;
  bool estimate_slice(bool begin, sharing::ShareEstimator& estimator);
  void end_look(Member& member) noexcept;
  Member* find(const region::GuestMemory& guest);
  static std::uint64_t load(const std::atomic<std::uint64_t>& counter) noexcept {
    return counter.load(std::memory_order_relaxed);
  }

  region::Credit& credit_;
  Arbiter& arbiter_;
  const std::unique_ptr<reclaim::SwapOut> out_;
  region::ZeroPool* const zero_pool_;
  const WorkerSharing sharing_;
  region::Notices& notices_;
  const base::Clock& clock_;
  os::Poller poller_;       // the bell, and writes that have ended
  os::Poller rest_poller_;  // the bell alone
  os::Doorbell bell_;
  std::atomic<bool> awake_{false};   // a ring is on its way, or it looks soon without
  std::atomic<bool> urgent_{false};  // a ring is on its way
  std::atomic<bool> zeros_wanted_{false};
  std::atomic<bool> mend_wanted_{false};
  std::atomic<base::Nanos::rep> sample_at_{0};  // 0: not asked
  std::atomic<bool> stop_{false};

  base::Mutex mutex_{base::LockRank::worker};
  base::CondVar served_;
  // Linked through the requests themselves, which live on their callers' stacks: asking allocates nothing, so a
  // guest can also be detached when there is no memory.
  Request* first_ VMM_GUARDED_BY(mutex_) = nullptr;
  Request* last_ VMM_GUARDED_BY(mutex_) = nullptr;
  unsigned holds_ VMM_GUARDED_BY(mutex_) = 0;  // of those who have been told that it stands still
  base::CondVar let_go_;

  // The thread's own.
  std::vector<Member> members_;
  std::uint64_t moved_ = 0;  // pages that the last look has parked, handed on to be written, or drained
  bool awaited_ = false;     // some balloon's answer was, at the last look
  int fruitless_ = 0;  // looks in a row that freed nothing although memory was short
  bool exhausted_ = false;
  base::Nanos last_share_{};
  std::int64_t uncharged_ = 0;  // when pages that were written since they were shared were last looked for
  base::Random random_;

  os::Thread thread_;
};

// A worker that stands still while this lives.
class WorkerHold {
 public:
  explicit WorkerHold(Worker& worker) noexcept : worker_(&worker) { worker.hold(); }
  ~WorkerHold() {
    if (worker_ != nullptr) worker_->let_go();
  }
  WorkerHold(WorkerHold&& other) noexcept : worker_(std::exchange(other.worker_, nullptr)) {}
  WorkerHold& operator=(WorkerHold&&) = delete;
  WorkerHold(const WorkerHold&) = delete;
  WorkerHold& operator=(const WorkerHold&) = delete;

 private:
  Worker* worker_;
};

}  // namespace vmm::host
