#include "sole_owner.h"

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "guest_inside.h"
#include "os/mapping.h"
#include "os/thread.h"
#include "vmm/units.h"

namespace vmm::run {
namespace {

// Between two looks while forks are to be dealt with. Most children have gone, or exec'ed, by the first.
constexpr auto kPeriod = std::chrono::milliseconds(20);
// Pages at once: longer calls keep mmap waiting.
constexpr std::uint64_t kMostPages = 1024;

class SoleOwner {
 public:
  void forked() noexcept {
    {
      const std::lock_guard lock(mutex_);
      ++forks_;
      if (!thread_) {
        auto thread = os::Thread::start("vmm-fork", [this] { run(); });
        if (!thread) return;  // tried again at the next fork
        thread_ = new os::Thread(std::move(*thread));
      }
    }
    forked_.notify_one();
  }

 private:
  void run() noexcept {
    std::unique_lock lock(mutex_);
    for (std::uint64_t done = 0;;) {
      forked_.wait(lock, [&] { return forks_ != done; });
      forked_.wait_for(lock, kPeriod, [] { return false; });
      if (!memory_is_short()) continue;
      const auto now = forks_;
      lock.unlock();
      own_all();
      lock.lock();
      done = now;
    }
  }

  // Before the host begins to take pages.
  static bool memory_is_short() noexcept {
    const auto stats = ProgramMemory::host().stats();
    return stats && stats->free < stats->memory / 8;
  }

  static void own_all() noexcept {
    auto& guest = guest_inside();
    const auto in_place = [&](std::uint64_t page) {
      const auto state = guest.table.load(page).state();
      return state == region::PageState::resident;
    };
    for (std::uint64_t page = 0; page < guest.pages();) {
      if (!in_place(page)) {
        ++page;
        continue;
      }
      const auto first = page;
      while (page < guest.pages() && page - first < kMostPages && in_place(page)) ++page;
      // What is protected refuses, and is pinned anyway.
      (void)os::populate_for_write(guest.at(first), (page - first) * kPageSize);
    }
  }

  std::mutex mutex_;
  std::condition_variable forked_;
  std::uint64_t forks_ = 0;
  os::Thread* thread_ = nullptr;  // never ends
};

}  // namespace

void become_sole_owner_when_needed() noexcept {
  static auto& owner = *new SoleOwner;
  owner.forked();
}

}  // namespace vmm::run
