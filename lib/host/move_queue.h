// MoveQueue: homes that the scheduler has decided on, on their way to the thread that changes them.
// Thread-safety: every function may be called from any thread; pop() from one.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace vmm {

class GuestCore;

namespace host {

struct Move {
  std::weak_ptr<GuestCore> guest;
  int from = -1;  // the home when it was decided on
  int to = -1;
  const char* why = "";
  std::string reason;
};

class MoveQueue {
 public:
  // Moves that belong together: the two of a swap.
  using Moves = std::vector<Move>;

  void push(Moves moves) {
    {
      base::MutexLock lock(mutex_);
      queue_.push_back(std::move(moves));
    }
    changed_.notify_all();
  }
  // Waits for some; none after stop(). What was taken before has been made.
  std::optional<Moves> pop() {
    base::MutexLock lock(mutex_);
    making_ = false;
    while (queue_.empty() && !stopping_) changed_.wait(mutex_);
    if (stopping_) return std::nullopt;
    std::optional<Moves> moves(std::move(queue_.front()));
    queue_.pop_front();
    making_ = true;
    return moves;
  }
  // Some wait, or are being made.
  bool busy() {
    base::MutexLock lock(mutex_);
    return making_ || !queue_.empty();
  }
  void stop() {
    {
      base::MutexLock lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
  }

 private:
  base::Mutex mutex_{base::LockRank::moves};
  base::CondVar changed_;
  std::deque<Moves> queue_ VMM_GUARDED_BY(mutex_);
  bool making_ VMM_GUARDED_BY(mutex_) = false;
  bool stopping_ VMM_GUARDED_BY(mutex_) = false;
};

}  // namespace host
}  // namespace vmm
