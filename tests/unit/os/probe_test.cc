#include "vmm/capabilities.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "os/call.h"
#include "os/process_limits.h"
#include "os/swap_directory.h"
#include "support/fault_injector.h"
#include "vmm/units.h"

namespace vmm {
namespace {

using os::Call;
using test::NthCallFails;
constexpr auto kForever = NthCallFails::Repeat::forever;

constexpr const char* kItems[] = {"userfaultfd",
                                  "uffd_write_protect",
                                  "uffdio_move",
                                  "wp_async",
                                  "poison",
                                  "pagemap_scan",
                                  "mbind",
                                  "transparent_huge_pages",
                                  "ksm",
                                  "kernel_swap",
                                  "vm_overcommit",
                                  "nodes",
                                  "numa_balancing",
                                  "cgroup_memory_limit",
                                  "max_map_count",
                                  "rlimit_nofile",
                                  "rlimit_fsize",
                                  "rlimit_memlock",
                                  "rlimit_as",
                                  "io_uring",
                                  "swap_directory",
                                  "o_tmpfile",
                                  "o_direct"};

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

TEST(Probe, EveryItemSaysWhatWasFoundWhatItMeansAndWhatWouldHelp) {
  const Capabilities caps = probe();
  std::set<std::string> names;
  for (const Capability& item : caps.items) {
    EXPECT_TRUE(names.insert(item.name).second) << "twice: " << item.name;
    EXPECT_FALSE(item.detail.empty()) << item.name;
    EXPECT_FALSE(item.consequence.empty()) << item.name;
    EXPECT_FALSE(item.remedy.empty()) << item.name;
    EXPECT_EQ(caps.find(item.name), &item);
  }
  for (const char* name : kItems) EXPECT_EQ(names.count(name), 1U) << name;
  EXPECT_EQ(names.size(), std::size(kItems));
}

TEST(Probe, FindAndHas) {
  Capabilities caps;
  caps.items.push_back({"there", CapabilityState::available, "", "", ""});
  caps.items.push_back({"partly", CapabilityState::limited, "", "", ""});
  caps.items.push_back({"gone", CapabilityState::missing, "", "", ""});
  EXPECT_TRUE(caps.has("there"));
  EXPECT_TRUE(caps.has("partly"));
  EXPECT_FALSE(caps.has("gone"));
  EXPECT_FALSE(caps.has("unheard of"));
  EXPECT_EQ(caps.find("unheard of"), nullptr);
  EXPECT_EQ(caps.find("gone")->name, "gone");
}

TEST(Probe, NamesOfLevelsAndStates) {
  EXPECT_STREQ(to_string(CapabilityLevel::full), "full");
  EXPECT_STREQ(to_string(CapabilityLevel::baseline), "baseline");
  EXPECT_STREQ(to_string(CapabilityLevel::user_mode), "user_mode");
  EXPECT_STREQ(to_string(CapabilityLevel::none), "none");
  EXPECT_STREQ(to_string(CapabilityState::available), "available");
  EXPECT_STREQ(to_string(CapabilityState::limited), "limited");
  EXPECT_STREQ(to_string(CapabilityState::missing), "missing");
}

TEST(Probe, LeavesNothingOpenMappedOrWritten) {
  std::string directory = testing::TempDir() + "vmm-probe-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  ASSERT_TRUE(probe(directory).find("swap_directory"));  // whatever the first run allocates stays
  const auto descriptors = open_descriptors();
  const auto maps = os::maps_in_use().value();
  for (int i = 0; i < 20; ++i) probe(directory);
  EXPECT_EQ(open_descriptors(), descriptors);
  EXPECT_LE(os::maps_in_use().value(), maps + 2);
  EXPECT_TRUE(std::filesystem::is_empty(directory));
  std::filesystem::remove_all(directory);
}

TEST(Probe, TheLevelFollowsFromTheItems) {
  const Capabilities caps = probe();
  const auto level = caps.level;
  if (!caps.has("userfaultfd") || !caps.has("uffd_write_protect")) {
    EXPECT_EQ(level, CapabilityLevel::none);
  } else if (caps.find("userfaultfd")->state == CapabilityState::limited) {
    EXPECT_EQ(level, CapabilityLevel::user_mode);
  } else if (caps.has("uffdio_move") && caps.has("wp_async") && caps.has("pagemap_scan")) {
    EXPECT_EQ(level, CapabilityLevel::full);
  } else {
    EXPECT_EQ(level, CapabilityLevel::baseline);
  }
}

// Each thing can be made to look missing, and then the level is what a kernel without it would have.
TEST(Probe, AFailingCallMakesItsItemMissingAndLowersTheLevel) {
  const Capabilities real = probe();
  struct Case {
    Call call;
    std::vector<const char*> missing;
    CapabilityLevel at_most;
  };
  const Case cases[] = {
      {Call::uffd_move, {"uffdio_move"}, CapabilityLevel::baseline},
      {Call::pagemap_scan, {"pagemap_scan"}, CapabilityLevel::baseline},
      {Call::pagemap_open, {"pagemap_scan"}, CapabilityLevel::baseline},
      {Call::uffd_poison, {"poison"}, CapabilityLevel::full},
      {Call::uffd_writeprotect, {"uffd_write_protect", "wp_async"}, CapabilityLevel::none},
      {Call::uffd_register, {"uffd_write_protect", "uffdio_move", "wp_async", "poison"}, CapabilityLevel::none},
      {Call::uffd_api,
       {"userfaultfd", "uffd_write_protect", "uffdio_move", "wp_async", "poison"},
       CapabilityLevel::none},
      {Call::userfaultfd,
       {"userfaultfd", "uffd_write_protect", "uffdio_move", "wp_async", "poison"},
       CapabilityLevel::none},
      {Call::mbind, {"mbind"}, CapabilityLevel::full},
      {Call::uring_setup, {"io_uring"}, CapabilityLevel::full},
      {Call::uring_submit, {"io_uring"}, CapabilityLevel::full},
      {Call::open, {"swap_directory", "o_tmpfile", "o_direct"}, CapabilityLevel::full},
      {Call::pread, {"o_direct"}, CapabilityLevel::full},
      {Call::mmap, {"uffd_write_protect", "uffdio_move", "pagemap_scan", "mbind"}, CapabilityLevel::none},
  };
  for (const Case& c : cases) {
    const NthCallFails failing(c.call, 1, EPERM, kForever);
    const Capabilities caps = probe();
    EXPECT_GT(failing.failed(), 0U) << os::to_string(c.call);
    std::set<std::string> missing(c.missing.begin(), c.missing.end());
    for (const Capability& item : caps.items) {
      if (missing.count(item.name) != 0) {
        EXPECT_EQ(item.state, CapabilityState::missing) << os::to_string(c.call) << ": " << item.name;
        EXPECT_FALSE(item.detail.empty()) << item.name;
      } else if (c.call != Call::mmap) {
        EXPECT_EQ(item.state, real.find(item.name)->state) << os::to_string(c.call) << ": " << item.name;
      }
    }
    EXPECT_EQ(caps.level, std::max(real.level, c.at_most)) << os::to_string(c.call);
  }
}

// Hazard 33: the device first, then the system call, then user mode only.
TEST(Probe, UserfaultfdIsTriedInOrderAndTheDetailSaysWhichWorked) {
  // The calls of one attempt: open the device, ask it for a descriptor, the system call, user mode only.
  class FirstFail final : public os::Interceptor {
   public:
    explicit FirstFail(int failing) : failing_(failing) { os::set_interceptor(this); }
    ~FirstFail() override { os::set_interceptor(nullptr); }
    int before(Call call) noexcept override {
      if (call != Call::userfaultfd) return 0;
      // After a failed open of the device the next call is the system call; a call let through ends the attempt.
      if (done_ < failing_) {
        ++done_;
        return EACCES;
      }
      done_ = 0;
      return 0;
    }

   private:
    const int failing_;
    int done_ = 0;
  };
  struct Case {
    int failing;
    const char* works;
    CapabilityState state;
  };
  const bool device = ::access("/dev/userfaultfd", R_OK | W_OK) == 0;
  const Capabilities real = probe();
  if (device) {
    EXPECT_EQ(real.find("userfaultfd")->detail, "/dev/userfaultfd works");
  }
  for (const Case& c : {Case{1, "the system call works", CapabilityState::available},
                        Case{2, "user mode only works", CapabilityState::limited},
                        Case{3, "user mode only: ", CapabilityState::missing}}) {
    const FirstFail failing(c.failing);
    const Capabilities caps = probe();
    const Capability& item = *caps.find("userfaultfd");
    if (real.find("userfaultfd")->state != CapabilityState::available && c.failing < 3) continue;
    if (c.failing == 1 && item.state == CapabilityState::limited) continue;  // only the device gives all to this user
    EXPECT_EQ(item.state, c.state) << item.detail;
    EXPECT_NE(item.detail.find(c.works), std::string::npos) << item.detail;
    EXPECT_NE(item.detail.find("/dev/userfaultfd: "), std::string::npos) << item.detail;
    if (c.state == CapabilityState::limited) {
      EXPECT_EQ(caps.level, CapabilityLevel::user_mode);
      EXPECT_NE(item.consequence.find("EFAULT"), std::string::npos);
    }
    if (c.state == CapabilityState::missing) {
      EXPECT_EQ(caps.level, CapabilityLevel::none);
      EXPECT_FALSE(caps.has("uffdio_move"));
    }
  }
}

TEST(Probe, WithoutProcAndSysItStillAnswers) {
  const NthCallFails hidden(Call::read_file, 1, EACCES, kForever);
  const Capabilities caps = probe();
  EXPECT_EQ(caps.items.size(), std::size(kItems));
  for (const char* name : {"max_map_count", "rlimit_nofile", "nodes", "kernel_swap"}) {
    EXPECT_EQ(caps.find(name)->state, CapabilityState::limited) << name;
    EXPECT_FALSE(caps.find(name)->detail.empty()) << name;
  }
  EXPECT_EQ(caps.nodes, 1U);
  EXPECT_EQ(caps.machine_memory, 0U);
  EXPECT_EQ(caps.max_map_count, 0U);
}

TEST(Probe, FiguresAreThoseOfTheKernel) {
  const Capabilities caps = probe();
  EXPECT_EQ(caps.max_map_count, os::max_map_count().value());
  EXPECT_GT(caps.maps_in_use, 10U);
  EXPECT_LT(caps.maps_in_use, caps.max_map_count);
  // Not equal to the byte: a virtual machine's memory may be ballooned between the two looks.
  const auto bytes = static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  EXPECT_NEAR(static_cast<double>(caps.machine_memory), bytes, bytes / 10);
  EXPECT_GE(caps.nodes, 1U);
  const Capability* maps = caps.find("max_map_count");
  EXPECT_NE(maps->detail.find(std::to_string(caps.max_map_count)), std::string::npos) << maps->detail;
  EXPECT_NE(maps->detail.find("left"), std::string::npos) << maps->detail;
}

TEST(Probe, CountsEveryMapping) {
  const auto before = os::maps_in_use().value();
  constexpr std::size_t kPages = 200;
  void* memory = ::mmap(nullptr, kPages * kPageSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  for (std::size_t i = 0; i < kPages; i += 2)
    ASSERT_EQ(::mprotect(static_cast<char*>(memory) + i * kPageSize, kPageSize, PROT_NONE), 0);
  const auto during = os::maps_in_use().value();
  ::munmap(memory, kPages * kPageSize);
  EXPECT_GE(during, before + kPages - 2);
  EXPECT_LE(during, before + kPages + 8);
}

// Hazard 19: near vm.max_map_count the whole process suffers, so the probe says so. In a child: it uses them up.
TEST(Probe, FewMappingsLeftIsALimit) {
  const auto most = os::max_map_count().value();
  if (most > 200000) GTEST_SKIP() << "vm.max_map_count = " << most << ": using that many up takes too long";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const std::size_t pages = most - 1000;
    auto* memory =
        static_cast<char*>(::mmap(nullptr, pages * kPageSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory == MAP_FAILED) ::_exit(2);
    for (std::size_t i = 0; i < pages; i += 2) ::mprotect(memory + i * kPageSize, kPageSize, PROT_NONE);
    const Capabilities caps = probe();
    if (caps.find("max_map_count")->state != CapabilityState::limited) ::_exit(3);
    ::_exit(caps.maps_in_use + 8192 > caps.max_map_count ? 0 : 4);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Probe, SwapDirectories) {
  std::string directory = testing::TempDir() + "vmm-probe-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const Capabilities good = probe(directory);
  EXPECT_TRUE(good.has("swap_directory")) << good.find("swap_directory")->detail;
  EXPECT_NE(good.find("swap_directory")->detail.find(directory), std::string::npos);
  EXPECT_GT(good.swap_space_free, 0U);

  const std::string file = directory + "/file";
  {
    const int fd = ::open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ASSERT_GE(fd, 0);
    ::close(fd);
  }
  for (const std::string& bad : {directory + "/none", file}) {
    const Capabilities caps = probe(bad);
    const Capability& item = *caps.find("swap_directory");
    EXPECT_EQ(item.state, CapabilityState::missing) << bad;
    EXPECT_NE(item.detail.find(bad), std::string::npos) << item.detail;
    EXPECT_FALSE(item.remedy.empty());
    EXPECT_EQ(caps.find("o_direct")->state, CapabilityState::missing);
    EXPECT_EQ(caps.swap_space_free, 0U);
  }
  std::filesystem::remove_all(directory);
}

TEST(Probe, ASwapDirectoryInMemoryIsNoRealOne) {
  if (!std::filesystem::is_directory("/dev/shm") || ::access("/dev/shm", W_OK) != 0)
    GTEST_SKIP() << "/dev/shm is not writable here";
  const Capabilities caps = probe("/dev/shm");
  const Capability& item = *caps.find("swap_directory");
  if (item.detail.find("in memory") == std::string::npos) GTEST_SKIP() << "/dev/shm is not in memory: " << item.detail;
  EXPECT_EQ(item.state, CapabilityState::limited);
  EXPECT_NE(item.consequence.find("frees nothing"), std::string::npos);
}

TEST(Probe, TheDefaultSwapDirectoryIsTmpdirElseVarTmp) {
  const char* before = ::getenv("TMPDIR");
  const std::string saved = before != nullptr ? before : "";
  ::setenv("TMPDIR", "/some/where", 1);
  EXPECT_EQ(os::default_swap_directory(), "/some/where");
  ::setenv("TMPDIR", "", 1);
  EXPECT_EQ(os::default_swap_directory(), "/var/tmp");
  ::unsetenv("TMPDIR");
  EXPECT_EQ(os::default_swap_directory(), "/var/tmp");
  if (before != nullptr) ::setenv("TMPDIR", saved.c_str(), 1);
}

// In a child, because a limit once lowered may not be raised again.
TEST(Probe, LimitsOfTheProcessShow) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const struct {
      decltype(RLIMIT_NOFILE) resource;
      rlim_t soft;
      const char* item;
      const char* detail;
      CapabilityState state;
    } cases[] = {{RLIMIT_NOFILE, 100, "rlimit_nofile", "100", CapabilityState::limited},
                 {RLIMIT_FSIZE, 16 * MiB, "rlimit_fsize", "16 MiB", CapabilityState::limited},
                 {RLIMIT_MEMLOCK, 64 * KiB, "rlimit_memlock", "64 KiB", CapabilityState::limited}};
    for (const auto& c : cases) {
      rlimit limit{};
      ::getrlimit(c.resource, &limit);
      if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < c.soft) continue;
      limit.rlim_cur = c.soft;
      if (::setrlimit(c.resource, &limit) != 0) ::_exit(2);
      const Capabilities caps = probe();
      const Capability* item = caps.find(c.item);
      if (item == nullptr || item->detail != c.detail || item->state != c.state) ::_exit(3);
    }
    // Hazard 21: a limit too small for the trial file is an error, not the signal that ends the process.
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_FSIZE, &none) != 0) ::_exit(4);
    const Capabilities caps = probe();
    if (caps.has("swap_directory")) ::_exit(5);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// Without privileges the same questions have answers, whatever they are.
TEST(Probe, AnUnprivilegedProcessIsAnswered) {
  if (::geteuid() != 0) GTEST_SKIP() << "already without privileges: the other tests are this test";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    constexpr unsigned kNobody = 65534;
    if (::setresgid(kNobody, kNobody, kNobody) != 0 || ::setresuid(kNobody, kNobody, kNobody) != 0) ::_exit(2);
    const Capabilities caps = probe("/var/tmp");
    if (caps.items.size() != std::size(kItems)) ::_exit(3);
    const Capability& item = *caps.find("userfaultfd");
    if (item.state == CapabilityState::limited && caps.level != CapabilityLevel::user_mode) ::_exit(4);
    if (item.state == CapabilityState::missing && caps.level != CapabilityLevel::none) ::_exit(5);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace vmm
