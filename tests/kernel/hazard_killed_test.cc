// Hazards 27 and 35: a process killed at any point leaves no swap file behind; swap files are readable by nobody else.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "os/call.h"
#include "support/child.h"
#include "support/seed.h"
#include "support/temp_directory.h"
#include "support/way.h"

namespace vmm::test {
namespace {

// Kills this process at the Nth OS call.
class KilledAt final : public os::Interceptor {
 public:
  explicit KilledAt(std::uint64_t n) : n_(n) { os::set_interceptor(this); }
  ~KilledAt() override { os::set_interceptor(nullptr); }
  int before(os::Call) noexcept override {
    if (seen_.fetch_add(1, std::memory_order_relaxed) + 1 == n_) ::kill(::getpid(), SIGKILL);
    return 0;
  }
  std::uint64_t seen() const { return seen_; }

 private:
  const std::uint64_t n_;
  std::atomic<std::uint64_t> seen_{0};
};

void live(const HostOptions& ho, Findings& findings) {
  auto host = Host::create(ho);
  if (!findings.check(host, "Host::create")) return;
  for (const char* name : {"one", "two"}) {
    GuestOptions go;
    go.name = name;
    go.memory = 2 * MiB;
    auto guest = host->create_guest(go);
    if (!findings.check(guest, "create_guest")) return;
    const auto memory = guest->memory();
    for (std::size_t at = 0; at < memory.size(); at += kPageSize) memory[at] = std::byte{1};
    findings.check(guest->reclaim(memory.size()), "reclaim");
    for (std::size_t at = 0; at < memory.size(); at += 3 * kPageSize)
      findings.check(memory[at] == std::byte{1}, "wrong page");
    findings.check(guest->discard(0, memory.size() / 2), "discard");
  }
}

TEST(Hazard35_Killed, AtAnyPointLeavesNoFile) {
  const TempDirectory directory;
  HostOptions ho;
  ho.memory = 32 * MiB;
  ho.swap_directory = directory.path();
  // How many calls there are to be killed at.
  std::uint64_t calls = 0;
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    const KilledAt never(0);
    live(ho, findings);
    findings.check_equal(directory.entries().size(), 0U, "files after the life of a host");
    // Told by a file, which the parent reads and removes.
    std::filesystem::create_directory(directory.file(std::to_string(never.seen())));
  }));
  calls = std::stoull(directory.entries().at(0));
  std::filesystem::remove(directory.file(directory.entries().at(0)));
  ASSERT_GT(calls, 100U);

  const auto seed_used = seed();
  SCOPED_TRACE(seed_note(seed_used));
  std::mt19937_64 random(seed_used);
  const int points = std::getenv("VMM_FULL") != nullptr ? 1000 : 200;
  int killed = 0;
  for (int i = 0; i < points; ++i) {
    const auto at = i < 40 ? static_cast<std::uint64_t>(i) * calls / 40 + 1 : random() % calls + 1;
    SCOPED_TRACE("killed at OS call " + std::to_string(at));
    const auto end = in_child([&](Findings& findings) {
      const KilledAt then(at);
      live(ho, findings);
    });
    killed += WIFSIGNALED(end.status) ? 1 : 0;
    // This life had fewer: how many times a thread looks whether there is something to do differs.
    if (!WIFSIGNALED(end.status)) calls = std::max<std::uint64_t>(std::min(calls, at - 1), 100);
    ASSERT_TRUE(!WIFSIGNALED(end.status) || WTERMSIG(end.status) == SIGKILL) << end.describe();
    ASSERT_EQ(end.text, "");
    ASSERT_TRUE(directory.entries().empty()) << directory.entries().front() << " was left";
  }
  EXPECT_GT(killed, points / 2);
}

// The descriptors of files of that directory: their modes.
std::vector<mode_t> modes_of_files_in(const std::string& directory) {
  std::vector<mode_t> modes;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const auto target = std::filesystem::read_symlink(entry.path(), gone).string();
    struct stat status {};
    if (target.rfind(directory + "/", 0) == 0 && ::stat(entry.path().c_str(), &status) == 0)
      modes.push_back(status.st_mode & 07777);
  }
  return modes;
}

TEST(Hazard35_SwapFile, IsReadableByItsOwnerOnly) {
  for (const bool persist : {false, true}) {
    const TempDirectory directory;
    const auto mask = ::umask(0);
    HostOptions ho;
    ho.memory = 32 * MiB;
    ho.swap_directory = directory.path();
    ho.swap_persist = persist;
    auto host = Host::create(ho);
    ASSERT_TRUE(host) << host.error().message();
    GuestOptions go;
    go.name = "secret";
    go.memory = 1 * MiB;
    auto guest = host->create_guest(go);
    ::umask(mask);
    ASSERT_TRUE(guest) << guest.error().message();
    const auto modes = modes_of_files_in(directory.path());
    ASSERT_EQ(modes.size(), 1U);
    EXPECT_EQ(modes[0], 0600U);
    EXPECT_EQ(directory.entries().size(), persist ? 1U : 0U);
  }
}

// A new guest in the directory of a former one finds zeros in every page, whatever slots it uses.
TEST(Hazard35_SwapFile, FreedSlotsAreNotReadByAnotherGuest) {
  const TempDirectory directory;
  HostOptions ho;
  ho.memory = 32 * MiB;
  ho.swap_directory = directory.path();
  auto host = Host::create(ho);
  ASSERT_TRUE(host) << host.error().message();
  GuestOptions go;
  go.memory = 2 * MiB;
  for (int i = 0; i < 4; ++i) {
    go.name = "tenant-" + std::to_string(i);
    auto guest = host->create_guest(go);
    ASSERT_TRUE(guest) << guest.error().message();
    const auto memory = guest->memory();
    for (const auto byte : memory) ASSERT_EQ(byte, std::byte{0});
    std::fill(memory.begin(), memory.end(), std::byte{0x5e});
    ASSERT_TRUE(guest->reclaim(memory.size()));
    ASSERT_TRUE(guest->discard(0, memory.size() / 2));
    for (std::size_t at = 0; at < memory.size(); ++at)
      ASSERT_EQ(memory[at], at < memory.size() / 2 ? std::byte{0} : std::byte{0x5e}) << at;
  }
}

}  // namespace
}  // namespace vmm::test
