// Mutex: std::mutex with a rank, annotated for clang's thread-safety analysis. A thread takes mutexes in
// ascending rank only; a debug build (VMM_RANK_CHECKS) aborts on an inversion. docs/lock-order.md has the tree.
// Thread-safety: it is one. Fault threads take no Mutex but those ranked kLeaf (see docs/lock-order.md).
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "base/thread_annotations.h"

namespace vmm::base {

// Ascending: a holder of one may take only greater ones.
enum class LockRank : int {
  event_callback = 10,  // held while the callback runs, which may use the API
  host_control = 20,    // create and destroy guests
  estimate = 22,      // one estimate of what sharing could save at a time
  rates = 25,         // how fast memory follows guests to their homes
  guest_list = 30,    // the host's table of guests
  moves = 35,         // homes that are to change
  worker = 40,        // requests to a worker
  arbiter = 45,       // who is entitled to what
  guest_control = 50, // one guest's native/managed change
  pins = 60,
  slots = 70,         // a swap file's slot map
  events = 80,        // the event queue
  seats = 85,         // attached threads
  balloon = 88,       // Balloon: its driver and its request; no driver is called with it
  leaf = 90,          // I/O thread queue; never held across a syscall
};

#if defined(VMM_RANK_CHECKS)
void rank_acquired(const void* mutex, LockRank rank) noexcept;
void rank_released(const void* mutex) noexcept;
#else
inline void rank_acquired(const void*, LockRank) noexcept {}
inline void rank_released(const void*) noexcept {}
#endif

class VMM_CAPABILITY("mutex") Mutex {
 public:
  explicit Mutex(LockRank rank) noexcept : rank_(rank) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() VMM_ACQUIRE() {
    rank_acquired(this, rank_);
    mutex_.lock();
  }
  void unlock() VMM_RELEASE() {
    rank_released(this);  // first: it aborts where another thread holds the mutex
    mutex_.unlock();
  }

 private:
  friend class CondVar;
  std::mutex mutex_;
  const LockRank rank_;
};

class VMM_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) VMM_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() VMM_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Condition variable for a Mutex. The caller holds the mutex before and after a wait.
class CondVar {
 public:
  void wait(Mutex& mutex) VMM_REQUIRES(mutex) VMM_NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  template <class Rep, class Period>
  bool wait_for(Mutex& mutex, std::chrono::duration<Rep, Period> d)
      VMM_REQUIRES(mutex) VMM_NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const bool signalled = cv_.wait_for(lock, d) == std::cv_status::no_timeout;
    lock.release();
    return signalled;
  }
  void notify_one() noexcept { cv_.notify_one(); }
  void notify_all() noexcept { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace vmm::base
