// BoundThreads: binds the threads that answer faults, the library's and the minimal loop's, and the thread that faults.
//
// Where the kernel puts them decides most of a fault's latency: two threads on one processor pass a fault on for a few
// microseconds, on two idle ones for the time it takes to wake a processor, twice. It decides by chance and sticks to
// it, so a fair comparison binds both in the same way.
// Thread-safety: one thread; the threads exist already.
#pragma once

#include <string>
#include <vector>

namespace vmm::bench {

class BoundThreads {
 public:
  enum class Where { same_processor, other_processor };
  static std::string name(Where where) { return where == Where::same_processor ? "one processor" : "two processors"; }

  // Throws std::runtime_error if this process may run on one processor only, for two.
  explicit BoundThreads(Where where);
  ~BoundThreads();
  BoundThreads(const BoundThreads&) = delete;
  BoundThreads& operator=(const BoundThreads&) = delete;

 private:
  void bind(int tid, const std::vector<int>& cpus);

  struct Before {
    int tid;
    std::vector<int> cpus;
  };
  std::vector<Before> before_;
};

}  // namespace vmm::bench
