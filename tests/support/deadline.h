// Deadline: aborts the process with a message when a test takes longer than it ever may. A hang is then a failure
// that says where, also where no test runner watches.
// Thread-safety: one thread makes and ends it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace vmm::test {

class Deadline {
 public:
  explicit Deadline(std::chrono::seconds most, std::string what)
      : what_(std::move(what)), thread_([this, most] {
          std::unique_lock lock(mutex_);
          if (ended_.wait_for(lock, most, [this] { return over_; })) return;
          std::fprintf(stderr, "hang: %s took more than %lld s\n", what_.c_str(), static_cast<long long>(most.count()));
          std::abort();
        }) {}
  ~Deadline() {
    {
      std::lock_guard lock(mutex_);
      over_ = true;
    }
    ended_.notify_all();
    thread_.join();
  }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  const std::string what_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace vmm::test
