// EventQueue: events on their way to the callback, and the callback itself.
// A slow callback delays nobody but itself: it has a thread of its own, or that of who ticks the host.
// Thread-safety: push() from any thread but fault threads; deliver() and run() from one thread.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <new>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "vmm/event.h"

namespace vmm::host {

class EventQueue {
 public:
  void push(Event event) {
    {
      base::MutexLock lock(queue_mutex_);
      if (events_.size() == kMost) events_.pop_front();  // nobody listens, or too slowly: the oldest go
      events_.push_back(std::move(event));
    }
    changed_.notify_one();
  }

  void set_callback(std::function<void(const Event&)> callback) {
    {
      base::MutexLock queue(queue_mutex_);
      ++replacing_;
    }
    {
      base::MutexLock lock(callback_mutex_);
      callback_ = std::move(callback);
      base::MutexLock queue(queue_mutex_);
      listening_ = callback_ != nullptr;
      --replacing_;
    }
    changed_.notify_one();
  }

  // Delivers until stop().
  void run() noexcept {
    while (wait_for_events()) {
      try {
        deliver();
      } catch (const std::bad_alloc&) {
        // The callback found no memory: on with the next event.
      }
    }
  }
  void stop() {
    {
      base::MutexLock lock(queue_mutex_);
      stopping_ = true;
    }
    changed_.notify_one();
  }

  // Calls the callback for every event so far, unless it is to be replaced or the host ends. Without a callback the
  // events wait.
  void deliver() {
    base::MutexLock lock(callback_mutex_);
    if (!callback_) return;
    struct Inside {
      std::atomic<std::thread::id>& id;
      ~Inside() { id.store({}, std::memory_order_relaxed); }  // also when the callback finds no memory
    } inside{delivering_};
    delivering_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    for (;;) {
      Event event;
      {
        base::MutexLock queue(queue_mutex_);
        if (events_.empty() || stopping_ || replacing_ > 0) break;
        event = std::move(events_.front());
        events_.pop_front();
      }
      callback_(event);
    }
  }

  // The calling thread is inside the callback.
  bool inside() const noexcept { return delivering_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }

 private:
  static constexpr std::size_t kMost = 4096;

  // False: stopped.
  bool wait_for_events() {
    base::MutexLock lock(queue_mutex_);
    while (!stopping_ && (events_.empty() || !listening_ || replacing_ > 0)) changed_.wait(queue_mutex_);
    return !stopping_;
  }

  // Held while the callback runs: the first lock of all, since the callback may use the API.
  base::Mutex callback_mutex_{base::LockRank::event_callback};
  base::Mutex queue_mutex_{base::LockRank::events};
  std::function<void(const Event&)> callback_ VMM_GUARDED_BY(callback_mutex_);
  std::deque<Event> events_ VMM_GUARDED_BY(queue_mutex_);
  bool listening_ VMM_GUARDED_BY(queue_mutex_) = false;
  int replacing_ VMM_GUARDED_BY(queue_mutex_) = 0;  // threads that wait to set another callback
  bool stopping_ VMM_GUARDED_BY(queue_mutex_) = false;
  base::CondVar changed_;
  std::atomic<std::thread::id> delivering_{};
};

}  // namespace vmm::host
