#include "os/memory_limit.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "os/call.h"
#include "os/node_info.h"
#include "support/fault_injector.h"
#include "vmm/units.h"

namespace vmm::os {
namespace {

constexpr const char* kMountV2 = "26 21 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kMountV1 =
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

std::vector<std::string> paths(const char* self, const std::string& mounts, bool v2) {
  std::vector<std::string> found;
  for (const auto& folder : cgroup_memory_folders(self, mounts))
    if (folder.v2 == v2) found.push_back(folder.path);
  return found;
}

TEST(MemoryLimit, FoldersOfTheGroupAndItsAncestors) {
  struct Case {
    const char* name;
    const char* self;
    std::string mounts;
    bool v2;
    std::vector<std::string> folders;
  };
  const std::string in_container = "40 35 0:22 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
  const std::string blank = "26 21 0:22 / /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n";
  for (const Case& c : {
           Case{"v2 nested",
                "0::/user.slice/a.scope\n",
                kMountV2,
                true,
                {"/sys/fs/cgroup/user.slice/a.scope", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"}},
           Case{"v2 root", "0::/\n", kMountV2, true, {"/sys/fs/cgroup"}},
           Case{"v2 namespace shows a path outside", "0::/../other\n", kMountV2, true, {"/sys/fs/cgroup"}},
           Case{"v2 container without namespace",
                "0::/docker/abc/x\n",
                in_container,
                true,
                {"/sys/fs/cgroup/x", "/sys/fs/cgroup"}},
           Case{"v2 container, another's path", "0::/docker/abcd\n", in_container, true, {"/sys/fs/cgroup"}},
           Case{"v2 blank in the mount point", "0::/g", blank, true, {"/mnt/my groups/g", "/mnt/my groups"}},
           Case{"v1",
                "5:devices:/\n4:memory:/a/b\n3:cpuset:/\n",
                kMountV1,
                false,
                {"/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory"}},
           Case{"v1 controllers mounted together",
                "4:cpu,memory:/a\n",
                "35 31 0:32 / /cg rw - cgroup cgroup rw,cpu,memory\n",
                false,
                {"/cg/a", "/cg"}},
           Case{"v1 not mounted", "4:memory:/a\n", kMountV2, false, {}},
           Case{"nothing", "", "", true, {}},
           Case{"garbage", "::\nx\n0:\n", " - \n - cgroup2\na b c d e - cgroup2\n", true, {}},
       })
    EXPECT_EQ(paths(c.self, c.mounts, c.v2), c.folders) << c.name;
}

TEST(MemoryLimit, BothVersionsCountOnAHybridMachine) {
  std::string mounts = kMountV1;
  mounts += kMountV2;
  const auto folders = cgroup_memory_folders("4:memory:/a\n0::/b\n", mounts);
  ASSERT_EQ(folders.size(), 4U);
  EXPECT_EQ(folders[0].path, "/sys/fs/cgroup/b");
  EXPECT_EQ(folders[2].path, "/sys/fs/cgroup/memory/a");
}

// Folders that look like control groups.
class FakeGroups : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "vmm-groups-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  std::string group(const std::string& name) {
    std::filesystem::create_directories(root_ + "/" + name);
    return root_ + "/" + name;
  }
  static void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

  std::string root_;
};

TEST_F(FakeGroups, TheSmallestLimitOfAllAncestorsCounts) {
  const std::string inner = group("outer/inner");
  const std::string outer = group("outer");
  write(inner + "/memory.max", "max\n");
  write(inner + "/memory.high", "max\n");
  write(outer + "/memory.max", "1073741824\n");
  write(outer + "/memory.current", "4096\n");
  const auto limit = smallest_cgroup_limit({{inner, true}, {outer, true}, {root_, true}});
  EXPECT_EQ(limit.cgroup, GiB);
  EXPECT_EQ(limit.cgroup_source, outer + "/memory.max");
  EXPECT_EQ(limit.cgroup_used, 4096U);
}

TEST_F(FakeGroups, MemoryHighCountsWhereItIsTheLess) {
  const std::string g = group("g");
  write(g + "/memory.max", "2147483648\n");
  write(g + "/memory.high", "1073741824\n");
  const auto limit = smallest_cgroup_limit({{g, true}});
  EXPECT_EQ(limit.cgroup, GiB);
  EXPECT_EQ(limit.cgroup_source, g + "/memory.high");
}

TEST_F(FakeGroups, Version1SeesLimitsOfHiddenAncestors) {
  const std::string g = group("g");
  write(g + "/memory.limit_in_bytes", "9223372036854771712\n");
  write(g + "/memory.usage_in_bytes", "8192\n");
  write(g + "/memory.stat", "cache 1\nhierarchical_memory_limit 536870912\nrss 2\n");
  const auto limit = smallest_cgroup_limit({{g, false}});
  EXPECT_EQ(limit.cgroup, 512 * MiB);
  EXPECT_EQ(limit.cgroup_used, 8192U);
  write(g + "/memory.stat", "hierarchical_memory_limit 9223372036854771712\n");
  EXPECT_EQ(smallest_cgroup_limit({{g, false}}).cgroup, 0U) << "unlimited";
}

TEST_F(FakeGroups, MissingAndBrokenFilesDoNotLimit) {
  const std::string g = group("g");
  EXPECT_EQ(smallest_cgroup_limit({{g, true}, {g, false}, {g + "/none", true}}).cgroup, 0U);
  write(g + "/memory.max", "lots\n");
  EXPECT_EQ(smallest_cgroup_limit({{g, true}}).cgroup, 0U);
  EXPECT_EQ(smallest_cgroup_limit({}).cgroup, 0U);
}

TEST(MemoryLimit, TheLeastKnownIsEffective) {
  struct Case {
    const char* name;
    std::uint64_t machine, cgroup, effective;
  };
  for (const Case& c : {Case{"nothing known", 0, 0, 0}, Case{"machine only", 8, 0, 8}, Case{"group only", 0, 5, 5},
                        Case{"group smaller", 8, 5, 5}, Case{"machine smaller", 8, 9, 8}}) {
    MemoryLimit limit;
    limit.machine = c.machine;
    limit.cgroup = c.cgroup;
    EXPECT_EQ(limit.effective(), c.effective) << c.name;
  }
}

TEST(MemoryLimit, OfThisProcess) {
  const MemoryLimit limit = memory_limit();
  EXPECT_EQ(limit.machine, machine_memory().value());
  EXPECT_GT(limit.effective(), 0U);
  EXPECT_EQ(limit.cgroup == 0, limit.cgroup_source.empty());
}

TEST(MemoryLimit, WithoutProcNothingIsKnown) {
  const test::NthCallFails hidden(Call::read_file, 1, EACCES, test::NthCallFails::Repeat::forever);
  EXPECT_EQ(memory_limit().effective(), 0U);
}

}  // namespace
}  // namespace vmm::os
