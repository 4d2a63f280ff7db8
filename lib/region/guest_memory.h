// GuestMemory: the memory of one guest and all that is known about it: its mapping, its staging area, the page
// table, its userfaultfd, counters and marks. Fault service, worker and API calls meet here.
//
// The staging area is a second mapping of the guest's size: page i of the guest is staged at page i of it, so
// a staged page needs no address of its own. It costs memory only while pages are in it.
// Thread-safety: per member, as commented. Created and destroyed by one thread.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "os/mapping.h"
#include "os/pagemap.h"
#include "os/userfaultfd.h"
#include "policy/reclaim_plan.h"
#include "policy/window.h"
#include "region/credit.h"
#include "region/fault_latency.h"
#include "region/leftovers.h"
#include "region/page_table.h"
#include "region/pool_charge.h"
#include "vmm/result.h"
#include "vmm/units.h"

namespace vmm::region {

class GuestMemory;
class Isolator;

// Where swapped pages are; the reclaim layer fills it in.
class BackingStore {
 public:
  virtual ~BackingStore() = default;
  // The slot of a page, whose lock is the caller's, is another page's from now on.
  virtual void free_slot(std::uint64_t slot) noexcept = 0;
  // Some pages stay in staging that should not: the worker, whose call this is, looks for them.
  virtual void left_in_staging() noexcept = 0;
};

// The references of shared pages to their frames; the sharing layer fills it in. It ends when the guest's memory is
// unmapped, and gives back those that are left.
class FrameReferences {
 public:
  virtual ~FrameReferences() = default;
  // Those of the pages that show frames show none any more, and are charged; what is in them stays. Waits for page
  // locks and for the guest's fault thread: any thread but that. An errno; then some may show frames still.
  virtual int take_out(std::uint64_t first, std::uint64_t count) noexcept = 0;
};

// A range whose swapped pages are to be brought back. Owned by the guest, worked on by the fault thread.
struct Prefetch {
  enum State : std::uint32_t { kFree, kClaimed, kQueued };
  std::atomic<std::uint32_t> state{kFree};
  std::uint64_t next = 0;  // owner: who claimed it; once queued, the fault thread
  std::uint64_t end = 0;
};

// What sharing has done with the guest's pages, those of a huge page one by one. Since creation, but for `common`; as
// GuestCounters.
struct ShareCounters {
  std::atomic<std::uint64_t> looked{0};    // read and hashed
  std::atomic<std::uint64_t> zero{0};      // dropped: they held nothing but zeros
  std::atomic<std::uint64_t> shared{0};    // made to show a frame
  std::atomic<std::uint64_t> broken{0};    // had shown a frame, and were found to have been written to
  std::atomic<std::uint64_t> changing{0};  // not shared: changed before they were compared, or only the hash was equal
  std::atomic<std::uint64_t> pinned{0};    // not looked at: a Pin covers them
  std::atomic<std::uint64_t> huge{0};      // not shared: part of a huge page
  std::atomic<std::uint64_t> no_mapping{0};  // not shared: mappings are kept for longer runs, or there are none
  std::atomic<std::uint64_t> no_memory{0};   // not shared: no frame, or no memory for one
  std::atomic<std::uint64_t> busy{0};        // not shared: the kernel keeps the page
  std::atomic<std::uint64_t> cpu_ns{0};      // processor time of all that
  // As of the last look at all of the guest.
  std::atomic<double> common{0};  // frames that it shows, each by the part of its references that are the guest's
  std::atomic<std::uint64_t> frames{0};      // that it shows, each counted once
  std::atomic<std::uint64_t> candidates{0};  // like no other page that is known
  // Now.
  std::atomic<std::uint64_t> waiting{0};  // of the look that is under way, not yet come to
};

// Pages and counts; relaxed atomics, each right by itself.
struct GuestCounters {
  std::atomic<std::uint64_t> resident{0};  // charged: in place, in staging, or being read
  std::atomic<std::uint64_t> staging{0};
  std::atomic<std::uint64_t> parked{0};    // part of staging that waits to be written, as the worker last said
  std::atomic<std::uint64_t> swapped{0};
  std::atomic<std::uint64_t> lost{0};
  std::atomic<std::uint64_t> pinned{0};
  std::atomic<std::uint64_t> ballooned{0};
  std::atomic<std::uint64_t> shared{0};    // show a frame, or were written since; charged only when that was found
  ShareCounters share;
  std::atomic<std::uint64_t> swapped_out{0};
  std::atomic<std::uint64_t> freed{0};     // left memory by swap: swapped out, or zero pages dropped
  std::array<std::atomic<std::uint64_t>, 4> freed_for{};  // the same by policy::ReclaimReason
  std::atomic<std::uint64_t> swap_written{0};
  std::atomic<std::uint64_t> swapped_in{0};
  std::atomic<std::uint64_t> put_back{0};  // came to be in place again, or anew, without being read in: written or not
  std::atomic<std::uint64_t> faults{0};
  std::atomic<std::uint64_t> fills{0};  // of pages that no balloon had
  std::atomic<std::uint64_t> balloon_pops{0};  // faults
  std::atomic<std::uint64_t> pages_filled{0}, pages_rescued{0};  // where fills and rescues count faults
  std::atomic<std::uint64_t> zero_pages{0};  // ever filled with the kernel's zero page
  std::atomic<std::uint64_t> rescues{0};
  std::atomic<std::uint64_t> swap_ins{0};
  std::atomic<std::uint64_t> swap_errors{0};
  std::atomic<std::uint64_t> stalls{0};
  std::atomic<std::uint64_t> stops{0};
  std::atomic<std::uint64_t> stopped_ns{0};
  std::atomic<std::uint64_t> busy_pages{0};
  std::atomic<std::uint64_t> rejected_faults{0};
  std::atomic<std::uint64_t> ballooned_out{0};    // were in memory when they were given up
  std::array<std::atomic<std::uint64_t>, 4> ballooned_for{};  // the same by policy::ReclaimReason
  std::atomic<std::uint64_t> balloon_popped{0};   // ballooned pages that were touched, or filled with one that was
  std::atomic<std::uint64_t> balloon_refused{0};  // named by the driver and not accepted
  std::atomic<std::uint64_t> balloon_late{0};     // answers
  std::atomic<std::uint64_t> sample_faults{0};   // on pages that were in staging and watched
  std::atomic<std::uint64_t> sample_wait_ns{0};  // from the event to the answer, of those together
};

inline void bump(std::atomic<std::uint64_t>& counter, std::uint64_t by = 1) noexcept {
  counter.fetch_add(by, std::memory_order_relaxed);
}
inline void drop(std::atomic<std::uint64_t>& counter, std::uint64_t by = 1) noexcept {
  counter.fetch_sub(by, std::memory_order_relaxed);
}

// What the arbiter says of the guest. Pages; relaxed atomics, each right by itself.
struct Arbitration {
  std::atomic<std::uint64_t> limit{0};     // 0 = none
  std::atomic<std::uint64_t> reserved{0};
  std::atomic<std::uint64_t> target{0};    // overhead included
  std::atomic<std::uint64_t> overhead{0};  // what the guest costs beside the pages it holds
  std::atomic<PoolCharge*> pool{nullptr};  // null: the root, which has no limit but the budget
  std::atomic<const std::string*> pool_name{nullptr};  // lives as long as the arbiter
  std::atomic<std::uint64_t> shares{0};
  std::atomic<bool> stopped{false};        // its faults wait
  std::atomic<std::uint64_t> balloon_max{0};     // 0 = no balloon
  std::atomic<std::uint64_t> balloon_target{0};  // what its driver was last asked to bring it to
  std::atomic<policy::ReclaimReason> balloon_reason{policy::ReclaimReason::pressure};  // why it was asked
  std::atomic<bool> balloon_distrusted{false};
  std::atomic<double> active{1};           // fraction of its pages that is in use
  std::atomic<double> active_error{0};     // standard error of the last sample
  std::atomic<double> sampled{0};          // the last whole period's sample
  std::atomic<std::uint64_t> samples{0};   // whole periods
};

struct GuestMemoryOptions {
  std::uint64_t id = 0;
  std::string name;
  std::uint64_t pages = 0;
  std::uint64_t limit_pages = 0;  // at first; 0 = none
  int node = 0;
  bool bind = false;
  bool large_pages = true;
  bool core_dump = false;
  bool move = true;               // isolation by UFFDIO_MOVE, else by write-protect and copy
  bool userfaultfd = true;        // false: the guest stays native
  os::UffdFeatures features;
  std::uint32_t read_window = 64;
};

// What remove_marker() found.
enum class Marker : std::uint8_t { none, removed, stays, unknown };

class GuestMemory {
 public:
  static constexpr std::uint64_t kRunPages = 64;

  // Maps both areas, sets policy, advice and protection on them, and opens the userfaultfd.
  // Errors: ENOMEM, ENODEV (node), EMFILE, errnos of userfaultfd.
  static Result<std::unique_ptr<GuestMemory>> create(const GuestMemoryOptions& options, Credit& credit,
                                                     const os::Pagemap& pagemap);
  // Makes the memory inaccessible, wakes whoever waits for a page (SIGSEGV), and unmaps it.
  // The fault service must have let go of it.
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  // New pages come from `node`, as far as it goes (or from nowhere else: GuestMemoryOptions::bind); those that are
  // there stay where they are. One thread at a time. Errors: ENODEV, ENOMEM; on error nothing has changed.
  Result<void> set_home(int node);

  int home() const noexcept { return home_.load(std::memory_order_acquire); }
  // Gives a mapping that is to take the place of a part of the guest all that is set for that, the policy of `home`
  // among it. Before any page of it is touched: then it merges with what is round it. An errno.
  int dress(const os::Mapping& piece, int home) const noexcept;
  // Sets the home's policy once more. An errno.
  int follow_home(std::uint64_t page, std::uint64_t count) noexcept;

  // Immutable.
  std::uint64_t id() const noexcept { return options_.id; }
  const std::string& name() const noexcept { return options_.name; }
  const GuestMemoryOptions& options() const noexcept { return options_; }
  std::uint64_t pages() const noexcept { return options_.pages; }
  std::byte* base() const noexcept { return memory_.data(); }
  std::byte* at(std::uint64_t page) const noexcept { return memory_.data() + page * kPageSize; }
  std::byte* staged(std::uint64_t page) const noexcept { return staging_.data() + page * kPageSize; }
  std::uint64_t page_of(std::uint64_t address) const noexcept {
    return (address - reinterpret_cast<std::uintptr_t>(memory_.data())) / kPageSize;
  }
  const os::Userfaultfd& uffd() const noexcept { return uffd_; }
  const os::Userfaultfd& staging_uffd() const noexcept { return staging_uffd_; }
  const os::Pagemap& pagemap() const noexcept { return pagemap_; }
  Isolator& isolator() const noexcept { return *isolator_; }
  Credit& credit() const noexcept { return credit_; }
  // Bytes of tables kept for this guest, all touched.
  std::uint64_t metadata_bytes() const noexcept;
  // Bytes that the kernel's page tables for it take at most.
  std::uint64_t page_table_bytes() const noexcept;

  // Registers the whole region with userfaultfd: from now on missing pages are events, and the guest grows no more
  // without credit. adopt() is to follow. Takes about a millisecond. Idempotent. Not for fault threads.
  // Errors: EBUSY (somebody else registered the range), ENOMEM. On error the guest stays native.
  Result<void> start_managing() VMM_REQUIRES(control);
  // Every present page becomes resident and is charged: some 5 ms a GiB. Nothing if that was done, or the guest is
  // native. estimated: what native guests hold has just been told to the credit, this one's share included, which is
  // lowered by what is charged; otherwise it counts double until it is measured again.
  void adopt(bool estimated = false) noexcept VMM_REQUIRES(control);
  bool adopted() const noexcept { return adopted_.load(std::memory_order_acquire); }
  // Both.
  Result<void> manage() VMM_REQUIRES(control);
  // The way back, whole; needs that nothing is isolated, swapped, lost, ballooned or shared. False if that is not so.
  bool unmanage() VMM_REQUIRES(control);
  // The memory becomes inaccessible, and who waits for one of its pages gets SIGSEGV, or EFAULT in the kernel. The
  // fault service has let go of it. Idempotent.
  void shut() noexcept VMM_EXCLUDES(control);
  bool is_shut() const noexcept { return shut_.load(std::memory_order_acquire); }
  bool managed() const noexcept { return managed_.load(std::memory_order_acquire); }

  // Pages that it has in memory; while native, as last counted.
  std::uint64_t held() const noexcept {
    return (adopted() ? counters.resident : native_pages).load(std::memory_order_relaxed);
  }

  // Credit for pages of this guest, its limit and its pools' respected.
  bool try_charge(std::uint64_t pages) noexcept;
  void uncharge(std::uint64_t pages) noexcept;
  // Pages that are in memory anyway are the guest's, and charged, whether there is credit or not.
  void charge_present(std::uint64_t pages) noexcept;
  // Pages whose credit was taken otherwise are the guest's now.
  void count_resident(std::uint64_t pages) noexcept;
  bool over_limit(std::uint64_t more) const noexcept {
    const auto limit = arbitration.limit.load(std::memory_order_relaxed);
    if (limit != 0 && counters.resident.load(std::memory_order_relaxed) + more > limit) return true;
    const auto* pool = arbitration.pool.load(std::memory_order_acquire);
    return pool != nullptr && pool->over_limit(more);
  }
  // Not at the same time from two threads. Either pool may be null.
  void set_pool(PoolCharge* pool) noexcept;

  // Wakes who waits for a page of the range: they fault again. Should the kernel refuse, the fault thread is rung
  // and wakes the whole guest.
  void wake(std::uint64_t page, std::uint64_t count) noexcept;
  // The fault thread: what wake() could not do. Cheap when there is nothing.
  void wake_again() noexcept {
    if (wake_failed_.load(std::memory_order_relaxed) && wake_failed_.exchange(false)) wake(0, pages());
  }

  // Whoever touches the page from now on gets SIGBUS, or SIGSEGV before Linux 6.6; never zeros. Its place is empty,
  // or has been refused before. Does not wake.
  void refuse(std::uint64_t page) noexcept { refuse_at(at(page)); }
  // The same where its owner has moved a part of the guest to, against the rules: nobody knows what belongs there.
  void refuse_at(std::byte* place) noexcept;

  // A write-protect marker in the page's empty place makes COPY and MOVE fail for ever: takes it away if there is one.
  // stays: the kernel refused. unknown: it does not tell what is there.
  Marker remove_marker(std::uint64_t page) noexcept;

  // How warm a run is: 0 may be taken at the clock hand's next visit. Any thread.
  std::uint8_t heat(std::uint64_t run) const noexcept { return heat_[run].load(std::memory_order_relaxed); }
  void warm(std::uint64_t page, std::uint8_t by) noexcept {
    auto& h = heat_[page / kRunPages];
    const auto old = h.load(std::memory_order_relaxed);
    if (old < 3) h.store(static_cast<std::uint8_t>(old + by < 3 ? old + by : 3), std::memory_order_relaxed);
  }
  void cool(std::uint64_t run) noexcept {
    const auto old = heat_[run].load(std::memory_order_relaxed);
    if (old > 0) heat_[run].store(static_cast<std::uint8_t>(old - 1), std::memory_order_relaxed);
  }

  PageTable table;          // thread-safe
  std::unique_ptr<FrameReferences> frames;  // set before any page is shared; ends before the table, after the memory
  GuestCounters counters;   // thread-safe
  Arbitration arbitration;  // thread-safe
  Leftovers leftovers;      // from the fault thread to the worker
  // Kernel id of the thread that copies pages out of the guest now, their words locked; 0 = none. It can meet a page
  // that the application has dropped by itself, and then waits for the fault thread, which must not wait for the lock.
  std::atomic<int> copier{0};
  std::atomic<std::uint64_t> native_pages{0};  // resident pages when last counted, while native
  base::Mutex control{base::LockRank::guest_control};  // native/managed change, discard of a native guest

  FaultLatency latency;
  // The fault thread: a fault of that cause has waited since then. Its node's latencies tell it as well.
  void count_wait(FaultCause cause, base::Nanos since) noexcept {
    const auto waited = (std::chrono::steady_clock::now().time_since_epoch() - since).count();
    const auto ns = static_cast<std::uint64_t>(std::max<base::Nanos::rep>(waited, 0));
    if (of_node != nullptr) (of_node->*cause).record(ns);
    // Last: who has read its count sees it in the node's.
    (latency.*cause).record(ns);
  }

  // The fault thread's own.
  FaultLatency* of_node = nullptr;  // of all guests that it answers; null: nobody does
  policy::FillWindow fill_window;
  std::uint64_t huge_stream = 0;  // page after the last huge page that was filled
  policy::FillWindow rescue_window;
  policy::FillWindow pop_window;  // over ballooned pages
  policy::ReadWindow read_window;
  Prefetch prefetches[4];

  // Set by the fault thread when it lets go of the guest: nothing is read again for it. Another thread may take it
  // over.
  std::atomic<bool> leaving{false};
  // For good, read by who asks for something.
  std::atomic<bool> closing{false};

  std::unique_ptr<BackingStore> backing;  // set before the guest is managed, immutable then

 private:
  GuestMemory(const GuestMemoryOptions& options, Credit& credit, const os::Pagemap& pagemap);
  Result<void> set_node_of_own(int node);

  const GuestMemoryOptions options_;
  std::atomic<int> home_;
  Credit& credit_;
  const os::Pagemap& pagemap_;
  os::Mapping memory_;
  os::Mapping staging_;
  os::Mapping heat_memory_;
  std::atomic<std::uint8_t>* heat_ = nullptr;
  os::Userfaultfd uffd_;
  os::Userfaultfd staging_uffd_;
  std::unique_ptr<Isolator> isolator_;
  std::atomic<bool> managed_{false};
  std::atomic<bool> adopted_{false};  // changed under control
  std::atomic<bool> shut_{false};
  std::atomic<bool> wake_failed_{false};
};

}  // namespace vmm::region
