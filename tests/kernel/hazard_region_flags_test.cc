// Hazards 26, 42, 43 and 24d: what the kernel knows of a guest's mapping stays as it was set: policy, DONTFORK,
// DONTDUMP, huge-page advice, one mapping; who looks from outside is served; a foreign userfaultfd is named.
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <numaif.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/child.h"
#include "support/kernel_view.h"
#include "support/page_oracle.h"
#include "support/temp_directory.h"
#include "support/way.h"

namespace vmm::test {
namespace {

using testing::HasSubstr;
using testing::Not;

class Hazard26_Flags : public EachWay {
 protected:
  // Every state, each a few times; afterwards all is as the oracle says.
  static void use_heavily(Guest& guest, PageOracle& oracle) {
    for (int round = 0; round < 4; ++round) {
      for (std::uint64_t page = 0; page < oracle.pages(); page += round % 2 == 0 ? 1 : 3) oracle.write(page);
      ASSERT_TRUE(guest.reclaim(guest.memory().size() / (round % 2 == 0 ? 1 : 2)));
      for (std::uint64_t page = 0; page < oracle.pages(); page += 5)
        ASSERT_EQ(oracle.look(page), PageOracle::Look::right) << page;
      ASSERT_TRUE(guest.discard(static_cast<std::uint64_t>(round) * 64 * kPageSize, 16 * kPageSize));
      oracle.expect_zeros(static_cast<std::uint64_t>(round) * 64, static_cast<std::uint64_t>(round) * 64 + 16);
      ASSERT_TRUE(guest.restore());
    }
    ASSERT_EQ(oracle.check().wrong, 0U);
  }
  const TempDirectory directory_;
};

// What get_mempolicy says of the address: mode and nodes.
std::pair<int, unsigned long> policy_of(const void* address) {
  int mode = -1;
  unsigned long nodes[16] = {};
  if (::get_mempolicy(&mode, nodes, sizeof nodes * 8, const_cast<void*>(address), MPOL_F_ADDR) != 0) return {-errno, 0};
  return {mode, nodes[0]};
}

TEST_P(Hazard26_Flags, StayThroughHeavyUse) {
  auto host = Host::create(host_options(directory_.path()));
  ASSERT_TRUE(host) << host.error().message();
  struct Case {
    const char* name;
    bool large, dump, bind;
  };
  for (const Case& c : {Case{"usual", true, false, false}, Case{"small pages, dumped", false, true, false},
                        Case{"bound", true, false, true}}) {
    SCOPED_TRACE(c.name);
    auto options = guest_options(c.name, 8 * MiB);
    options.large_pages = c.large;
    options.core_dump = c.dump;
    options.bind_memory = c.bind;
    auto guest = host->create_guest(options);
    ASSERT_TRUE(guest) << guest.error().message();
    const auto* const start = guest->memory().data();
    PageOracle oracle(guest->memory(), 1);
    for (const char* when : {"new", "used"}) {
      SCOPED_TRACE(when);
      const auto flags = smaps_flags(start);
      EXPECT_THAT(flags, HasSubstr(" dc "));
      EXPECT_EQ(flags.find(" dd ") != std::string::npos, !c.dump) << flags;
      EXPECT_THAT(flags, HasSubstr(c.large ? " hg " : " nh "));
      EXPECT_EQ(mappings_in(start, 8 * MiB), 1U);
      const auto [mode, nodes] = policy_of(start + 4 * MiB);
      const auto home = guest->stats()->home_node;
      if (mode == -ENOSYS || mode == -EPERM) {
        std::printf("get_mempolicy is not allowed here: the policy is not looked at\n");
      } else {
        EXPECT_EQ(mode, c.bind ? MPOL_BIND : MPOL_PREFERRED);
        EXPECT_EQ(nodes, 1UL << home);
      }
      if (std::string(when) == "used") break;
      ASSERT_NO_FATAL_FAILURE(use_heavily(*guest, oracle));
    }
    // Pages put in place by UFFDIO_COPY, by the fault thread, lie on the home node as those of the kernel do.
    ASSERT_TRUE(guest->reclaim(8 * MiB));
    ASSERT_EQ(oracle.check().wrong, 0U);
    for (std::uint64_t page = 256; page < oracle.pages(); page += 97)
      EXPECT_EQ(node_of_page(oracle.at(page)), guest->stats()->home_node) << page;
  }
}

class Hazard24d_Mappings : public Hazard26_Flags {};

// Guests managed from the start, and native ones touched by several threads before: one mapping each, always.
TEST_P(Hazard24d_Mappings, StayFew) {
  for (const auto management : {Management::at_creation, Management::on_demand}) {
    auto options = host_options(directory_.path());
    options.management = management;
    auto host = Host::create(options);
    ASSERT_TRUE(host) << host.error().message();
    auto guest = host->create_guest(guest_options("g", 16 * MiB));
    ASSERT_TRUE(guest) << guest.error().message();
    PageOracle oracle(guest->memory(), 1);
    for (const std::uint64_t page : {4000U, 7U, 2048U, 1U}) oracle.write(page);
    ASSERT_NO_FATAL_FAILURE(use_heavily(*guest, oracle));
    EXPECT_EQ(mappings_in(guest->memory().data(), 16 * MiB), 1U);
  }
}

class Hazard42_FromOutside : public Hazard26_Flags {};

// A debugger reads pages that are in place, swapped and never touched, while nobody in the process touches them.
TEST_P(Hazard42_FromOutside, ProcessVmReadvIsServed) {
  if (const auto why = test::unable_in_kernel(); !why.empty()) GTEST_SKIP() << why;
  auto options = host_options(directory_.path());
  options.management = Management::at_creation;
  auto host = Host::create(options);
  ASSERT_TRUE(host) << host.error().message();
  auto guest = host->create_guest(guest_options("g", 4 * MiB));
  ASSERT_TRUE(guest);
  PageOracle oracle(guest->memory(), 9);
  oracle.write(0, 512);
  ASSERT_TRUE(guest->reclaim(1 * MiB));
  ASSERT_GT(guest->stats()->swapped, 0U);
  const auto* const start = guest->memory().data();
  const auto parent = ::getpid();
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    std::vector<std::uint64_t> page(PageOracle::kWords);
    for (std::uint64_t p = 0; p < 1024; p += 7) {
      iovec local{page.data(), kPageSize};
      iovec remote{const_cast<std::byte*>(start) + p * kPageSize, kPageSize};
      const auto got = ::process_vm_readv(parent, &local, 1, &remote, 1, 0);
      if (got < 0 && (errno == EPERM || errno == ENOSYS)) return findings.skip("process_vm_readv is not allowed");
      findings.check_equal(got, static_cast<ssize_t>(kPageSize), "bytes read of page " + std::to_string(p));
      const auto version = p < 512 ? 1U : 0U;
      for (std::size_t i = 0; i < PageOracle::kWords; i += 13)
        findings.check_equal(page[i], PageOracle::word(9, p, version, i), "page " + std::to_string(p));
    }
  }));
  EXPECT_EQ(oracle.check().wrong, 0U);
}

// A userfaultfd of the application's own.
class ForeignUffd {
 public:
  explicit ForeignUffd(std::span<std::byte> range) {
    const int device = ::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device >= 0) fd_ = ::ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    if (device >= 0) ::close(device);
    if (fd_ < 0) fd_ = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY));
    uffdio_api api{};
    api.api = UFFD_API;
    uffdio_register r{};
    r.range = {reinterpret_cast<std::uintptr_t>(range.data()), range.size()};
    r.mode = UFFDIO_REGISTER_MODE_MISSING;
    registered_ = fd_ >= 0 && ::ioctl(fd_, UFFDIO_API, &api) == 0 && ::ioctl(fd_, UFFDIO_REGISTER, &r) == 0;
  }
  ~ForeignUffd() {
    if (fd_ >= 0) ::close(fd_);
  }
  ForeignUffd(const ForeignUffd&) = delete;
  ForeignUffd& operator=(const ForeignUffd&) = delete;
  bool registered() const { return registered_; }

 private:
  int fd_ = -1;
  bool registered_ = false;
};

class Hazard43_ForeignUserfaultfd : public Hazard26_Flags {};

TEST_P(Hazard43_ForeignUserfaultfd, IsNamedByErrorAndEvent) {
  auto options = host_options(directory_.path(), 64 * MiB);
  options.scheduler = Scheduler::manual;
  options.management = Management::on_demand;
  auto host = Host::create(options);
  ASSERT_TRUE(host) << host.error().message();
  std::vector<Event> events;
  host->on_event([&](const Event& e) { events.push_back(e); });
  auto guest = host->create_guest(guest_options("g", 60 * MiB));
  ASSERT_TRUE(guest) << guest.error().message();
  ASSERT_FALSE(guest->stats()->managed);
  const auto memory = guest->memory();
  PageOracle oracle(memory.first(52 * MiB), 1);
  oracle.write(0, oracle.pages());
  char range[64];
  std::snprintf(range, sizeof range, "[%p, %p)", static_cast<void*>(memory.data()),
                static_cast<void*>(memory.data() + memory.size()));
  {
    const ForeignUffd foreign(memory.last(2 * MiB));
    ASSERT_TRUE(foreign.registered());
    const auto taken = guest->reclaim(1 * MiB);
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, std::errc::device_or_resource_busy) << taken.error().message();
    EXPECT_THAT(taken.error().operation, HasSubstr(range));
    EXPECT_THAT(taken.error().operation, HasSubstr("\"g\""));
    EXPECT_THAT(taken.error().remedy, HasSubstr("userfaultfd"));
    // The host itself wants to manage the guest, since memory is short.
    ASSERT_TRUE(host->tick(std::chrono::seconds(1)));
    ASSERT_TRUE(host->tick(std::chrono::seconds(2)));
    const auto named = std::any_of(events.begin(), events.end(), [&](const Event& e) {
      return e.kind == EventKind::not_reclaimable && e.guest == "g" && e.reason.find(range) != std::string::npos;
    });
    EXPECT_TRUE(named) << events.size() << " events, none names " << range;
    EXPECT_FALSE(guest->stats()->managed);
    EXPECT_EQ(oracle.check().wrong, 0U);
  }
  // With the other one gone the guest can be managed.
  const auto taken = guest->reclaim(1 * MiB);
  ASSERT_TRUE(taken) << taken.error().message();
  EXPECT_GT(*taken, 0U);
  EXPECT_EQ(oracle.check().wrong, 0U);
}

VMM_EACH_WAY(Hazard26_Flags);
VMM_EACH_WAY(Hazard24d_Mappings);
VMM_EACH_WAY(Hazard42_FromOutside);
VMM_EACH_WAY(Hazard43_ForeignUserfaultfd);

}  // namespace
}  // namespace vmm::test
