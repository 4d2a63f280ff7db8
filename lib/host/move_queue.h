// MoveQueue: homes that the scheduler has decided on, on their way to the thread that changes them.
// Thread-safety: every function may be called from any thread; pop() from one.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/mutex.h"

namespace vmm {

class GuestCore;

namespace host {

struct Move {
  std::weak_ptr<GuestCore> guest;
  int to = -1;
  const char* why = "";
  std::string reason;
};

class MoveQueue {
 public:
  void push(Move move) {
    {
      base::MutexLock lock(mutex_);
      moves_.push_back(std::move(move));
    }
    changed_.notify_all();
  }
  // Waits for one; none after stop().
  std::optional<Move> pop() {
    base::MutexLock lock(mutex_);
    while (moves_.empty() && !stopping_) changed_.wait(mutex_);
    if (stopping_) return std::nullopt;
    std::optional<Move> move(std::move(moves_.front()));
    moves_.pop_front();
    return move;
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
  std::deque<Move> moves_ VMM_GUARDED_BY(mutex_);
  bool stopping_ VMM_GUARDED_BY(mutex_) = false;
};

}  // namespace host
}  // namespace vmm
