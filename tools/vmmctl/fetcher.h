// Fetcher: a thread that samples a host at intervals, so that a slow host never holds up the screen.
// Thread-safety: any thread may call; results are taken by one.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "descriptor.h"
#include "sampler.h"

namespace vmmctl {

class Fetcher {
 public:
  static Result<std::unique_ptr<Fetcher>> create(const std::string& socket_path, std::chrono::milliseconds interval);
  // Ends the thread, and a request that is under way.
  ~Fetcher();

  // Readable when there is something to take.
  int descriptor() const { return ready_.get(); }
  // What came since, oldest first.
  std::deque<Result<Sample>> take();
  void set_interval(std::chrono::milliseconds interval);
  // Asks at once.
  void ask_now();

 private:
  Fetcher(const std::string& socket_path, std::chrono::milliseconds interval, Descriptor ready, Descriptor end);
  void run();

  const Descriptor ready_, end_;  // eventfds
  Sampler sampler_;               // the thread's
  std::mutex mutex_;
  std::condition_variable changed_;
  std::chrono::milliseconds interval_;  // protected by mutex_, as what follows
  bool ask_now_ = false, ending_ = false;
  std::deque<Result<Sample>> results_;
  std::thread thread_;
};

}  // namespace vmmctl
