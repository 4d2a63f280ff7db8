// Credit: the host's memory budget as a counter of pages. Every page that is put into a guest takes credit
// first, so that a managed guest can never push the host over its budget.
// Thread-safety: every function may be called from any thread, fault threads included; lock-free.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace vmm::region {

// Told when credit comes back while somebody waits for it.
class CreditWaiter {
 public:
  virtual ~CreditWaiter() = default;
  virtual void credit_returned() noexcept = 0;
};

// Pages of free memory that change what is done.
struct CreditMarks {
  std::atomic<std::uint64_t> low{0};         // below this, faults tell the memory demand
  std::atomic<std::uint64_t> read_ahead{0};  // below this, nothing is read ahead
  // Above this, memory is filled generously and huge pages are zeroed ahead. Default: never.
  std::atomic<std::uint64_t> roomy{~std::uint64_t{0}};
  // Outside of these, targets are to be computed anew.
  std::atomic<std::uint64_t> plan_from{0}, plan_to{~std::uint64_t{0}};
};

class Credit {
 public:
  explicit Credit(std::uint64_t budget_pages) noexcept : budget_(static_cast<std::int64_t>(budget_pages)) {}

  std::uint64_t budget() const noexcept { return static_cast<std::uint64_t>(budget_.load(std::memory_order_relaxed)); }
  // May be less than what is consumed: nothing is given then until enough has come back.
  void set_budget(std::uint64_t pages) noexcept {
    budget_.store(static_cast<std::int64_t>(pages), std::memory_order_relaxed);
    tell_waiter();
  }
  const CreditMarks& marks() const noexcept { return marks_; }
  CreditMarks& marks() noexcept { return marks_; }
  // The budget less what is withheld.
  std::uint64_t usable() const noexcept {
    const auto w = withheld_.load(std::memory_order_relaxed), b = budget_.load(std::memory_order_relaxed);
    return w < b ? static_cast<std::uint64_t>(b - w) : 0;
  }
  // Pages consumed: charged, and the estimate of what native guests hold.
  std::uint64_t consumed() const noexcept {
    const auto c = charged_.load(std::memory_order_relaxed) + native_.load(std::memory_order_relaxed);
    return c > 0 ? static_cast<std::uint64_t>(c) : 0;
  }
  std::uint64_t free() const noexcept {
    const auto c = consumed(), u = usable();
    return c < u ? u - c : 0;
  }
  std::uint64_t charged() const noexcept {
    return static_cast<std::uint64_t>(charged_.load(std::memory_order_relaxed));
  }

  // Takes credit for that many pages, or nothing.
  bool try_charge(std::uint64_t pages) noexcept {
    const auto n = static_cast<std::int64_t>(pages);
    const auto limit = static_cast<std::int64_t>(usable()) - native_.load(std::memory_order_relaxed);
    auto charged = charged_.load(std::memory_order_relaxed);
    // Never more than `limit`, not even for a moment: another thread's try would fail, and nobody would ring for it.
    do {
      if (charged + n > limit) return false;
    } while (!charged_.compare_exchange_weak(charged, charged + n, std::memory_order_acq_rel,
                                             std::memory_order_relaxed));
    return true;
  }
  // Charges what is in memory already (adoption, buffers): may exceed the budget.
  void charge(std::uint64_t pages) noexcept {
    charged_.fetch_add(static_cast<std::int64_t>(pages), std::memory_order_acq_rel);
  }
  void release(std::uint64_t pages) noexcept {
    if (pages == 0) return;
    charged_.fetch_sub(static_cast<std::int64_t>(pages), std::memory_order_acq_rel);
    tell_waiter();
  }
  // Part of what is charged that is memory of files: frames.
  void count_of_files(std::int64_t pages) noexcept { of_files_.fetch_add(pages, std::memory_order_relaxed); }
  std::uint64_t of_files() const noexcept {
    return static_cast<std::uint64_t>(of_files_.load(std::memory_order_relaxed));
  }
  // What guests that are not managed hold, as last measured.
  void set_native(std::uint64_t pages) noexcept {
    native_.store(static_cast<std::int64_t>(pages), std::memory_order_relaxed);
    tell_waiter();
  }

  // Of what set_native() said that much has been charged since. By the thread that calls set_native().
  void lower_native(std::uint64_t pages) noexcept {
    const auto native = native_.load(std::memory_order_relaxed);
    native_.store(native - std::min(native, static_cast<std::int64_t>(pages)), std::memory_order_relaxed);
  }

  // Part of the budget that cannot be had at present: the process's control group has less.
  void withhold(std::uint64_t pages) noexcept {
    withheld_.store(static_cast<std::int64_t>(pages), std::memory_order_relaxed);
    tell_waiter();
  }
  std::uint64_t withheld() const noexcept {
    return static_cast<std::uint64_t>(withheld_.load(std::memory_order_relaxed));
  }

  // A fault thread waits for credit; it must try once more after this.
  void announce_wait() noexcept { waiting_.exchange(1, std::memory_order_acq_rel); }
  bool somebody_waits() const noexcept { return waiting_.load(std::memory_order_relaxed) != 0; }
  // Before the first guest, and null again when no thread is left.
  void set_waiter(CreditWaiter* waiter) noexcept { waiter_ = waiter; }

 private:
  void tell_waiter() noexcept {
    if (waiting_.exchange(0, std::memory_order_acq_rel) != 0 && waiter_ != nullptr) waiter_->credit_returned();
  }

  std::atomic<std::int64_t> budget_;
  CreditMarks marks_;
  std::atomic<std::int64_t> charged_{0};
  std::atomic<std::int64_t> native_{0};
  std::atomic<std::int64_t> of_files_{0};
  std::atomic<std::int64_t> withheld_{0};
  std::atomic<std::uint32_t> waiting_{0};
  CreditWaiter* waiter_ = nullptr;
};

}  // namespace vmm::region
