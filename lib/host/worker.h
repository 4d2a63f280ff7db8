// Worker: the thread of one node that takes memory from the guests homed there, on request or when the host is
// short, and zeroes huge pages ahead while it is not. Works in slices, so that a request never waits long.
// Thread-safety: public functions may be called from any thread but its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "os/poller.h"
#include "os/thread.h"
#include "policy/reclaim_plan.h"
#include "reclaim/evictor.h"
#include "reclaim/swap_out.h"
#include "region/zero_pool.h"

namespace vmm::host {

struct WorkerOptions {
  int node = 0;
  double min_free = 0.06;
  std::uint64_t roomy_free_pages = 0;  // above this much free memory, huge pages are zeroed ahead
};

class Worker {
 public:
  // What it uses outlives it. `clock` is the host's.
  // Errors: EMFILE, ENOMEM, EAGAIN (threads).
  static Result<std::unique_ptr<Worker>> create(const WorkerOptions& options, region::Credit& credit,
                                                std::unique_ptr<reclaim::SwapOut> out, region::ZeroPool* zero_pool,
                                                region::Notices& notices, const base::Clock& clock);
  ~Worker();

  // The guest's memory may be taken from now on. Its reservation is in pages. Errors: ENOMEM.
  Result<void> attach(region::GuestMemory& guest, std::uint64_t reservation) VMM_EXCLUDES(mutex_);
  // Nothing of the guest is touched any more; its writes in flight have ended. Blocks.
  void detach(region::GuestMemory& guest) VMM_EXCLUDES(mutex_);
  // Takes up to `pages` pages and waits for it. Returns how many left memory. Errors: ENOMEM (none left).
  Result<std::uint64_t> reclaim(region::GuestMemory& guest, std::uint64_t pages) VMM_EXCLUDES(mutex_);
  // Makes the guest native again if that can be; between slices, so that nothing is being taken. Blocks.
  bool unmanage(region::GuestMemory& guest) VMM_EXCLUDES(mutex_);

  // Looks at the host's free memory soon. Any thread, fault threads included.
  void wake() noexcept;
  // Zeroes huge pages ahead soon. As wake().
  void want_zeros() noexcept;
  // Makes some huge pages of small ones when it has nothing else to do. As wake().
  void want_mending() noexcept;

  os::AsyncIo::Backend backend() const noexcept { return out_->backend(); }

 private:
  struct Member {
    std::unique_ptr<reclaim::Evictor> evictor;
    std::uint64_t reservation;
    std::uint64_t mend_hand = 0;  // chunk
  };
  struct Request {
    enum Kind { kAttach, kDetach, kReclaim, kUnmanage } kind;
    region::GuestMemory* guest;
    std::uint64_t pages = 0;    // attach: reservation; reclaim: wanted
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

  Worker(const WorkerOptions& options, region::Credit& credit, std::unique_ptr<reclaim::SwapOut> out,
         region::ZeroPool* zero_pool, region::Notices& notices, const base::Clock& clock);
  void submit(Request& request) noexcept VMM_EXCLUDES(mutex_);
  void push_locked(Request& request) noexcept VMM_REQUIRES(mutex_);
  void pop_locked() noexcept VMM_REQUIRES(mutex_);
  void run();
  int look();
  bool serve_requests() VMM_EXCLUDES(mutex_);
  bool serve(Request& request);
  bool reclaim_slice(Request& request);
  bool relieve_pressure();
  bool zero_ahead();
  void mend_some() noexcept;
  Member* find(const region::GuestMemory& guest);

  const WorkerOptions options_;
  region::Credit& credit_;
  const std::unique_ptr<reclaim::SwapOut> out_;
  region::ZeroPool* const zero_pool_;
  region::Notices& notices_;
  const base::Clock& clock_;
  os::Poller poller_;
  os::Doorbell bell_;
  std::atomic<bool> awake_{false};  // a ring is on its way
  std::atomic<bool> zeros_wanted_{false};
  std::atomic<bool> mend_wanted_{false};
  std::atomic<bool> stop_{false};

  base::Mutex mutex_{base::LockRank::worker};
  base::CondVar served_;
  // Linked through the requests themselves, which live on their callers' stacks: asking allocates nothing, so a
  // guest can also be detached when there is no memory.
  Request* first_ VMM_GUARDED_BY(mutex_) = nullptr;
  Request* last_ VMM_GUARDED_BY(mutex_) = nullptr;

  // The thread's own.
  std::vector<Member> members_;
  bool under_way_ = false;
  int fruitless_ = 0;  // looks in a row that freed nothing although memory was short
  bool exhausted_ = false;

  os::Thread thread_;
};

}  // namespace vmm::host
