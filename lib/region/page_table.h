// PageTable: one atomic word per page of a guest, 8 bytes for 4 KiB, costing memory only where touched.
// Thread-safety: every function may be called from any thread, fault threads included (who only try).
// Several pages are locked in ascending order by who waits for locks; who only tries may use any order.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "os/mapping.h"
#include "os/poller.h"
#include "region/page_state.h"
#include "vmm/result.h"

namespace vmm::region {

class PageTable {
 public:
  PageTable() noexcept = default;
  // Errors: ENOMEM.
  static Result<PageTable> create(std::uint64_t pages);
  PageTable(PageTable&& other) noexcept;
  PageTable& operator=(PageTable&& other) noexcept;

  std::uint64_t pages() const noexcept { return pages_; }
  std::uint64_t bytes() const noexcept { return pages_ * sizeof(std::uint64_t); }

  // A glimpse: true at that moment only, unless the caller holds the lock.
  PageWord load(std::uint64_t page) const noexcept { return PageWord(words_[page].load(std::memory_order_acquire)); }

  // The word as it was (without its lock bit) if the lock was free and is now the caller's.
  std::optional<PageWord> try_lock(std::uint64_t page) noexcept {
    auto raw = words_[page].load(std::memory_order_relaxed);
    const PageWord word(raw);
    if (word.locked()) return std::nullopt;
    if (!words_[page].compare_exchange_strong(raw, word.with_lock(true).raw(), std::memory_order_acquire,
                                              std::memory_order_relaxed))
      return std::nullopt;
    return word;
  }

  // Waits for the lock. Not for fault threads.
  PageWord lock(std::uint64_t page) noexcept;

  // Lets go of a lock and sets the word; checks may_become. After a batch of these, released() must be called.
  void unlock(std::uint64_t page, PageWord word) noexcept { set(page, word.with_lock(false)); }
  // Sets the word, and keeps the lock, for a page that goes through several states in one go.
  void change(std::uint64_t page, PageWord word) noexcept { set(page, word.with_lock(true)); }

  // The page, whose lock is the caller's, has been touched: it is watched no longer, nor is any of a huge page that is
  // watched as one, but for pages that somebody else has locked. Returns the word for unlock(). Waits for nothing.
  PageWord unwatch(std::uint64_t page, PageWord word) noexcept;

  // Pages that are PageWord::dropped().
  std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }

  // Tells a fault thread that waits for a lock that some have been released.
  void released() noexcept {
    if (waiting_.exchange(0, std::memory_order_acq_rel) != 0) ring();
  }
  void ring() const noexcept {
    if (const auto* bell = bell_.load(std::memory_order_seq_cst)) bell->ring();
  }

  // Fault thread: announces that it waits for a locked page. It must try the lock once more after this.
  void announce_wait() noexcept { waiting_.exchange(1, std::memory_order_acq_rel); }

  // The bell of the guest's fault thread: set before that is told of the guest, so that whoever it has announced a wait
  // to rings this one. It outlives the table.
  void set_bell(const os::Doorbell* bell) noexcept { bell_.store(bell, std::memory_order_seq_cst); }

 private:
  void set(std::uint64_t page, PageWord word) noexcept;

  os::Mapping memory_;
  std::atomic<std::uint64_t>* words_ = nullptr;
  std::uint64_t pages_ = 0;
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::uint32_t> waiting_{0};
  std::atomic<const os::Doorbell*> bell_{nullptr};
};

// A page that is locked and put back as it was unless told otherwise. For callers that may wait.
class PageLock {
 public:
  PageLock(PageTable& table, std::uint64_t page) noexcept : table_(table), page_(page), word_(table.lock(page)) {}
  ~PageLock() {
    table_.unlock(page_, word_);
    table_.released();
  }
  PageLock(const PageLock&) = delete;
  PageLock& operator=(const PageLock&) = delete;
  PageWord word() const noexcept { return word_; }
  void set(PageWord word) noexcept { word_ = word; }

 private:
  PageTable& table_;
  const std::uint64_t page_;
  PageWord word_;
};

}  // namespace vmm::region
