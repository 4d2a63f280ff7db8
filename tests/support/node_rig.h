// NodeRig: what runs for one node, without a host: fault service, swap-in, swap-out, guests with swap files. Nothing
// happens by itself: the test parks and writes pages, so that each page is in the state that the test wants.
// Thread-safety: one thread, but for accesses to the guests' memory.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "os/call.h"
#include "os/pagemap.h"
#include "reclaim/evictor.h"
#include "reclaim/swap_in.h"
#include "reclaim/swap_out.h"
#include "reclaim/swap_store.h"
#include "region/credit.h"
#include "region/fault_service.h"
#include "region/guest_memory.h"
#include "region/pins.h"
#include "region/zero_pool.h"
#include "support/pattern.h"
#include "support/temp_directory.h"
#include "support/way.h"

namespace vmm::test {

struct RigOptions {
  std::uint64_t budget_pages = 65536;
  std::uint64_t low_free_pages = 0;
  std::uint64_t roomy_free_pages = ~std::uint64_t{0};  // never roomy: one page is filled for a scattered fault
  std::uint32_t batch_pages = 64;
  bool zero_pool = false;
  base::Nanos retry_timeout{0};
};

struct RigGuestOptions {
  std::uint64_t pages = 256;
  std::uint64_t slots = ~std::uint64_t{0};  // of the swap file; default: one a page
  std::uint64_t limit_pages = 0;
  bool large_pages = false;
  bool manage = true;
};

class NodeRig;

class RigGuest {
 public:
  region::GuestMemory& memory() { return *memory_; }
  region::GuestMemory* operator->() { return memory_.get(); }
  std::byte* at(std::uint64_t page) { return memory_->at(page); }
  region::PageState state(std::uint64_t page) { return memory_->table.load(page).state(); }
  reclaim::SwapStore& store() { return reclaim::SwapStore::of(*memory_); }
  region::Pins& pins() { return *pins_; }
  reclaim::Evictor& evictor() { return *evictor_; }

  void fill(std::uint64_t version = 1) { fill(0, memory_->pages(), version); }
  void fill(std::uint64_t first, std::uint64_t end, std::uint64_t version);
  // What is wrong with the pages, the first five of them; empty: nothing.
  std::string wrong(std::uint64_t version = 1) { return wrong(0, memory_->pages(), version); }
  std::string wrong(std::uint64_t first, std::uint64_t end, std::uint64_t version);

 private:
  friend class NodeRig;
  std::unique_ptr<region::GuestMemory> memory_;
  std::optional<region::Pins> pins_;
  std::unique_ptr<reclaim::Evictor> evictor_;
};

class NodeRig final : private region::MemoryDemand, private region::CreditWaiter {
 public:
  NodeRig(const Way& way, const RigOptions& options = {});
  ~NodeRig() override;

  RigGuest& add(const RigGuestOptions& options = {});
  // Ends the guest, as a host does it.
  void remove(RigGuest& guest);

  // Waits until nobody works on a page of the guest (who waits for a page is woken before its word is unlocked), and
  // until the fault thread has answered all that it has read: who faulted may have been woken by the answer to another
  // fault, and one answered late brings a page back that has left meanwhile. Drops the originals of pages that were
  // rescued by copying.
  void settle(RigGuest& guest);
  // Settles, then parks all that can be parked: isolated pages. Returns how many pages.
  std::uint64_t park(RigGuest& guest);
  // Writes what was parked; without `finish`, the pages are left as being written.
  std::uint64_t write(RigGuest& guest, bool finish = true);
  // Both, until nothing more leaves. All pages then are swapped or empty, if nothing was refused.
  void evict(RigGuest& guest);
  void finish() { out_->finish(true, now_); }

  // Notices so far, and then none.
  std::vector<region::Notice> notices();

  region::Credit& credit() { return credit_; }
  region::FaultService& faults() { return *faults_; }
  reclaim::SwapIn& swap_in() { return *swap_in_; }
  reclaim::SwapOut& out() { return *out_; }
  region::ZeroPool* zero_pool() { return zero_pool_.get(); }
  const os::Pagemap& pagemap() { return pagemap_; }
  bool moves() const { return move_; }
  std::uint64_t memory_wanted_calls() const { return memory_wanted_.load(); }
  std::uint64_t zeros_wanted_calls() const { return zeros_wanted_.load(); }
  base::Nanos now() const { return now_; }
  void set_now(base::Nanos now) { now_ = now; }
  // The os::Call that a completed swap write, or read, is seen as.
  os::Call write_call() const;
  os::Call read_call() const;

 private:
  void memory_wanted() noexcept override { memory_wanted_.fetch_add(1); }
  void zeros_wanted() noexcept override {
    zeros_wanted_.fetch_add(1);
    faults_->bell().ring();  // no worker zeroes pages here: who waits for one is told so
  }
  void targets_wanted() noexcept override {}
  void credit_returned() noexcept override { faults_->bell().ring(); }
  std::unique_ptr<RigGuest> make(const RigGuestOptions& options);

  TempDirectory directory_;
  const bool move_;
  const RigOptions options_;
  region::Credit credit_;
  region::Notices notices_;
  os::Pagemap pagemap_;
  os::UffdFeatures features_;
  std::atomic<std::uint64_t> memory_wanted_{0}, zeros_wanted_{0};
  std::unique_ptr<region::ZeroPool> zero_pool_;
  std::unique_ptr<reclaim::SwapIn> swap_in_;
  std::unique_ptr<region::FaultService> faults_;
  std::unique_ptr<reclaim::SwapOut> out_;
  std::unique_ptr<RigGuest> idle_;  // has no faults: to let go of it, the fault thread goes through its loop once
  std::vector<std::unique_ptr<RigGuest>> guests_;
  std::uint64_t next_id_ = 1;
  base::Nanos now_{1};
};

inline constexpr Way kMoveUring{"move_uring", Isolation::move, SwapIo::io_uring};
inline constexpr Way kMoveThreads{"move_threads", Isolation::move, SwapIo::threads};
inline constexpr Way kCopyUring{"write_protect_uring", Isolation::write_protect, SwapIo::io_uring};
inline constexpr Way kCopyThreads{"write_protect_threads", Isolation::write_protect, SwapIo::threads};

// As unable(), and io_uring where it is forced.
std::string unable_to_run(const Way& way);

// A test that runs with both isolations and both kinds of swap I/O.
class BackEnds : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (const auto why = unable_to_run(GetParam()); !why.empty()) GTEST_SKIP() << why;
  }
};

#define VMM_ALL_BACK_ENDS(Suite)                                                                       \
  INSTANTIATE_TEST_SUITE_P(, Suite,                                                                    \
                           testing::Values(::vmm::test::kMoveUring, ::vmm::test::kMoveThreads,         \
                                           ::vmm::test::kCopyUring, ::vmm::test::kCopyThreads),        \
                           ::vmm::test::way_name)

}  // namespace vmm::test
