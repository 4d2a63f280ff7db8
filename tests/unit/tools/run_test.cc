// What vmmctl run tells its library, and which programs it takes.
#include "run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "../run/program_file.h"
#include "vmm/units.h"

namespace vmmctl {
namespace {

using testing::HasSubstr;
using vmm::GiB;
using vmm::MiB;

TEST(RunSettings, ComeThroughTheEnvironmentWhole) {
  vmm::run::Settings settings;
  settings.memory = 512 * MiB;
  settings.size = 2 * GiB;
  settings.swap_directory = "/a path=with/signs";
  settings.stats_socket = "/run/run-%p.vmm";
  settings.stats_control = settings.report_at_exit = settings.children = settings.accept_baseline = true;
  settings.mmap_threshold = 1 * MiB;
  settings.library = "/usr/lib/libvmm/libvmm_run.so";
  settings.former_preload = "";
  const auto read = vmm::run::parse_settings(vmm::run::to_text(settings));
  ASSERT_TRUE(read);
  EXPECT_EQ(vmm::run::to_text(*read), vmm::run::to_text(settings));
  EXPECT_EQ(read->swap_directory, settings.swap_directory);
  EXPECT_EQ(read->former_preload, settings.former_preload);
  EXPECT_TRUE(read->children && read->report_at_exit && read->stats_control && read->accept_baseline);
  EXPECT_FALSE(vmm::run::parse_settings(vmm::run::to_text({}))->former_preload);
}

TEST(RunSettings, OfAnotherVersionAreRefused) {
  for (const std::string text : {"memory", "memory=1", "memory=x\n", "children=2\n", "nonsense=1\n", "memory=1x\n"})
    EXPECT_FALSE(vmm::run::parse_settings(text)) << text;
}

TEST(RunSettings, ProcessIdInPaths) {
  EXPECT_EQ(vmm::run::with_process_id("/run/%p-%p.vmm", 42), "/run/42-42.vmm");
  EXPECT_EQ(vmm::run::with_process_id("/100%/p%", 42), "/100%/p%");
}

TEST(RunSettings, SizeFollowsMemoryAsFarAsThereIsRoom) {
  EXPECT_EQ(default_size(512 * MiB, 100 * GiB), 2 * GiB);
  EXPECT_EQ(default_size(512 * MiB, 1000 * MiB), 900 * MiB);
  EXPECT_EQ(default_size(512 * MiB, 0), 2 * GiB);  // nobody knows
  RunOptions options;
  options.memory = "512M";
  options.no_stats_socket = true;
  vmm::Capabilities machine;
  machine.machine_memory = 16 * GiB;
  machine.swap_space_free = 100 * GiB;
  auto settings = run_settings(options, machine);
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->memory, 512 * MiB);
  EXPECT_EQ(settings->size, 2 * GiB);
  EXPECT_EQ(settings->stats_socket, "");
  options.memory.clear();
  options.size = "3000001";
  EXPECT_FALSE(run_settings(options, machine));  // less than any host has
  options.size = "100000001";
  settings = run_settings(options, machine);
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->memory, 0U);  // the host finds out
  EXPECT_EQ(settings->size, 96 * MiB);
}

TEST(RunPrograms, AreFoundAsShellsFindThem) {
  EXPECT_EQ(vmm::run::find_program("sh", "/nowhere:/bin").path, "/bin/sh");
  EXPECT_EQ(vmm::run::find_program("/bin/sh", "").status, 0);
  EXPECT_EQ(vmm::run::find_program("vmm-no-such-program", "/bin:/usr/bin").status, 127);
  EXPECT_EQ(vmm::run::find_program("passwd", "/etc").status, 126);
  EXPECT_EQ(vmm::run::find_program("", "/bin").status, 127);
  EXPECT_EQ(vmm::run::why_not_preloadable("/bin/sh"), "");
  EXPECT_THAT(vmm::run::why_not_preloadable("/etc/passwd"), HasSubstr("neither a program nor a script"));
}

}  // namespace
}  // namespace vmmctl
