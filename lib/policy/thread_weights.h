// Thread weights: the nice values with which the guests of a node divide its processors by what they are entitled to.
//
// Within a node the kernel's scheduler divides processors among the threads that want them, each by its weight, and
// knows no guests. A thread's weight is its nice value's: a step is a quarter more or less (sched(7)). The threads of a
// guest that is entitled to all it wants weigh 1, those of another the part of it that it is entitled to. So on a node
// that is loaded above its processors all guests are short by the same part, and on one that is loaded below them what
// is left goes to those who want it. Who is owed more than others for its entitlement, from other nodes, is counted as
// entitled to a little more. The heaviest have nice 0: none is put before the threads of other programs, which
// would take a privilege. What steps of a quarter leave over, time makes good: who is behind the others is rounded up.
//
// Thread-safety: pure functions of their arguments. O(n log n).
#pragma once

#include <vector>

namespace vmm::policy {

inline constexpr int kMostNice = 19;

struct WeighedGuest {
  double wanted = 0;    // processors
  double entitled = 0;  // processors
  double used = 0;      // processors, since the last call
  double owed = 0;      // CPU seconds, as policy/rebalance.h tells
  double behind = 0;    // CPU seconds: from the last call; 0 at first, and after a change of homes
};

struct ThreadWeight {
  int nice = 0;       // of each of its threads, 0 to kMostNice
  double behind = 0;  // what it had less than the others of the node for what it is entitled to, or, negative, more
};

// In the order of the guests, which are all that are homed on one node of `processors`. Where there are enough for all,
// nobody has more than 0. `seconds`: since the last call.
std::vector<ThreadWeight> plan_thread_weights(const std::vector<WeighedGuest>& guests, double processors,
                                              double seconds);

// The weight that the kernel gives a thread, relative to that of nice 0.
double weight_of_nice(int nice);

}  // namespace vmm::policy
