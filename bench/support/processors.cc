#include "support/processors.h"

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "os/affinity.h"
#include "support/hosts.h"
#include "support/minimal_loop.h"

namespace vmm::bench {

BoundThreads::BoundThreads(Where where) {
  const auto cpus = value_of(os::thread_affinity(0));
  if (where == Where::other_processor && cpus.size() < 2)
    throw std::runtime_error("this process may run on one processor only");
  const int mine = cpus.front(), theirs = where == Where::same_processor ? mine : cpus[1];
  bind(os::current_tid(), {mine});
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::ifstream(task.path() / "comm") >> name;
    if (name.rfind("vmm-fault", 0) == 0 || name == MinimalLoop::kThreadName)
      bind(std::stoi(task.path().filename()), {theirs});
  }
}

BoundThreads::~BoundThreads() {
  // A thread that has ended meanwhile needs nothing.
  for (const auto& [tid, cpus] : before_) static_cast<void>(os::set_thread_affinity(tid, cpus));
}

void BoundThreads::bind(int tid, const std::vector<int>& cpus) {
  before_.push_back({tid, value_of(os::thread_affinity(tid))});
  value_of(os::set_thread_affinity(tid, cpus));
}

}  // namespace vmm::bench
