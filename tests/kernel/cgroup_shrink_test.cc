// Hazard 27: the limit of the process's control group is lowered while guests hold more than fits. The host reclaims
// before the kernel kills.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "vmm/vmm.h"

namespace vmm {
namespace {

// A memory control group of this test's own, gone with it.
class ControlGroup {
 public:
  ControlGroup() {
    for (const auto& [folder, limit, used] :
         {std::tuple{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"},
          std::tuple{"/sys/fs/cgroup", "memory.max", "memory.current"}}) {
      path_ = std::string(folder) + "/vmm-shrink-" + std::to_string(::getpid());
      if (::mkdir(path_.c_str(), 0755) != 0) continue;
      limit_file_ = path_ + "/" + limit;
      used_file_ = path_ + "/" + used;
      if (std::ifstream(limit_file_)) return;
      ::rmdir(path_.c_str());
    }
    path_.clear();
  }
  ~ControlGroup() {
    if (!path_.empty()) ::rmdir(path_.c_str());
  }
  bool made() const { return !path_.empty(); }
  bool enter() const { return write(path_ + "/cgroup.procs", std::to_string(::getpid())); }
  bool limit(std::uint64_t bytes) const { return write(limit_file_, std::to_string(bytes)); }
  std::uint64_t used() const {
    std::uint64_t bytes = 0;
    std::ifstream(used_file_) >> bytes;
    return bytes;
  }

 private:
  static bool write(const std::string& path, const std::string& text) {
    std::ofstream file(path);
    file << text;
    file.flush();
    return file.good();
  }
  std::string path_, limit_file_, used_file_;
};

// In the child. Returns its exit status: 0 = survived with every byte right.
int run_in(const ControlGroup& group) {
  if (!group.enter()) return 10;
  HostOptions host_options;
  host_options.memory = 256 * MiB;
  host_options.scheduler = Scheduler::manual;
  host_options.management = Management::at_creation;
  auto host = Host::create(host_options);
  if (!host) return 11;
  GuestOptions guest_options;
  guest_options.name = "shrunk";
  guest_options.memory = 512 * MiB;
  guest_options.large_pages = false;
  auto guest = host->create_guest(guest_options);
  if (!guest) return 12;
  const auto memory = guest->memory();
  const auto fill = [&](std::uint64_t from, std::uint64_t to) {
    for (auto at = from; at < to; at += kPageSize) std::memcpy(&memory[at], &at, sizeof at);
  };
  fill(0, 192 * MiB);
  // From here on the group has 8 MiB more than is used now, and the budget over 40 MiB more than the guest holds.
  if (!group.limit(group.used() + 8 * MiB)) return 13;
  bool withheld = false;
  host->on_event([&](const Event& e) { withheld |= e.kind == EventKind::budget_withheld; });
  if (!host->tick(std::chrono::seconds(1)) || !withheld) return 14;
  for (std::uint64_t at = 192 * MiB; at < memory.size(); at += 4 * MiB) {
    fill(at, at + 4 * MiB);
    if (!host->tick(std::chrono::seconds(1) + std::chrono::nanoseconds(at))) return 15;
  }
  for (std::uint64_t at = 0; at < memory.size(); at += kPageSize)
    if (std::memcmp(&memory[at], &at, sizeof at) != 0) return 16;
  return 0;
}

TEST(Hazards, Hazard27_ALoweredGroupLimitMakesTheHostReclaimFirst) {
  const ControlGroup group;
  if (!group.made()) GTEST_SKIP() << "no memory control group can be made here (needs root and a writable cgroup mount)";
  if (!probe().has("userfaultfd")) GTEST_SKIP() << "userfaultfd: " << probe().find("userfaultfd")->detail;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(run_in(group));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_FALSE(WIFSIGNALED(status)) << "killed by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace vmm
