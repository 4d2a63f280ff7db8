// Hazards 24 and 24b: memory that the application or the kernel holds on to: mlock, mlockall, the kernel's own swap,
// KSM. Nothing is lost, and what cannot be taken is said.
#include <sys/mman.h>
#include <sys/swap.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support/child.h"
#include "support/deadline.h"
#include "support/lock_memory.h"
#include "support/page_oracle.h"
#include "support/pattern.h"
#include "support/system_setting.h"
#include "support/temp_directory.h"
#include "support/way.h"

namespace vmm::test {
namespace {

class Hazard24_Locked : public EachWay {
 protected:
  const TempDirectory directory_;
};

TEST_P(Hazard24_Locked, MlockedPagesStayOrGoWhole) {
  auto options = host_options(directory_.path());
  options.scheduler = Scheduler::manual;
  auto host = Host::create(options);
  ASSERT_TRUE(host) << host.error().message();
  bool said = false;
  host->on_event([&](const Event& e) { said |= e.kind == EventKind::not_reclaimable && e.guest == "g"; });
  auto guest = host->create_guest(guest_options("g", 4 * MiB));
  ASSERT_TRUE(guest);
  const auto memory = guest->memory();
  PageOracle oracle(memory, 1);
  oracle.write(0, oracle.pages());
  if (test::lock_memory(memory.data(), memory.size()) != 0) GTEST_SKIP() << "mlock of 4 MiB: RLIMIT_MEMLOCK is too low";
  const auto taken = guest->reclaim(4 * MiB);
  ASSERT_TRUE(taken) << taken.error().message();
  ASSERT_TRUE(host->tick(std::chrono::seconds(1)));
  // Either the pages leave in spite of the lock (they are dropped with MADV_DONTNEED_LOCKED), or the host says why not.
  EXPECT_TRUE(*taken > 0 || said);
  EXPECT_EQ(oracle.check().wrong, 0U);
  oracle.write(0, oracle.pages() / 2);
  ASSERT_TRUE(guest->discard(0, 1 * MiB));
  oracle.expect_zeros(0, 256);
  EXPECT_EQ(oracle.check().wrong, 0U);
  ASSERT_EQ(test::unlock_memory(memory.data(), memory.size()), 0);
  const auto later = guest->reclaim(4 * MiB);
  ASSERT_TRUE(later);
  EXPECT_GT(*later, 0U) << "unlocked pages can be taken";
  EXPECT_EQ(oracle.check().wrong, 0U);
}

TEST_P(Hazard24_Locked, MlockallLosesNothing) {
  for (const int flags : {MCL_CURRENT, MCL_CURRENT | MCL_FUTURE}) {
    VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
      if ((flags & MCL_FUTURE) != 0 && ::mlockall(flags) != 0)
        return findings.skip("mlockall: RLIMIT_MEMLOCK is too low");
      auto host = Host::create(host_options(directory_.path()));
      if (!findings.check(host, "Host::create")) return;
      auto guest = host->create_guest(guest_options("g", 2 * MiB));
      if (!findings.check(guest, "create_guest")) return;
      PageOracle oracle(guest->memory(), 1);
      oracle.write(0, oracle.pages());
      if ((flags & MCL_FUTURE) == 0 && ::mlockall(flags) != 0)
        return findings.skip("mlockall: RLIMIT_MEMLOCK is too low");
      for (int round = 0; round < 3; ++round) {
        findings.check(guest->reclaim(2 * MiB), "reclaim");
        const auto tally = oracle.check();
        findings.check_equal(tally.wrong + tally.lost, 0U, "wrong pages");
        oracle.write(0, oracle.pages());
        findings.check(guest->discard(0, 64 * kPageSize), "discard");
        oracle.expect_zeros(0, 64);
      }
      findings.check_equal(oracle.check().wrong, 0U, "wrong pages at the end");
    }));
  }
}

// mlockall fills what frames are copied from, too, with what they hold then: that must not be shown later.
TEST_P(Hazard24_Locked, MlockallDoesNotBringBackWhatFramesHeld) {
  for (const int flags : {MCL_CURRENT, MCL_CURRENT | MCL_FUTURE}) {
    VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
      auto options = host_options(directory_.path());
      options.memory = 48 * MiB;
      options.share_scan_ghz = 4;
      options.share_scan_time = std::chrono::hours(24);
      auto host = Host::create(options);
      if (!findings.check(host, "Host::create")) return;
      if (::mlockall(flags) != 0) return findings.skip("mlockall: RLIMIT_MEMLOCK is too low");
      std::vector<Guest> guests;
      for (const char* name : {"a", "b"}) {
        auto o = guest_options(name, 2 * MiB);
        o.large_pages = false;
        o.share_salt = "common";
        auto guest = host->create_guest(o);
        if (!findings.check(guest, "create_guest")) return;
        guests.push_back(std::move(*guest));
      }
      for (std::uint64_t version = 1; version <= 3; ++version) {
        for (auto& guest : guests)
          for (std::uint64_t page = 0; page < 2 * MiB / kPageSize; ++page)
            fill_page(guest.memory().data() + page * kPageSize, 7, page, version);
        for (int look = 0; look < 2; ++look) findings.check(host->share_now(), "share_now");
        for (auto& guest : guests)
          for (std::uint64_t page = 0; page < 2 * MiB / kPageSize; ++page)
            findings.check_equal(wrong_page(guest.memory().data() + page * kPageSize, 7, page, version), std::string(),
                                 "page");
      }
    }));
  }
}

// A swap file of the kernel's, used while it lives.
class KernelSwap {
 public:
  explicit KernelSwap(const std::string& path) : path_(path) {
    const std::string make = "dd if=/dev/zero of=" + path + " bs=1M count=128 status=none && chmod 600 " + path +
                             " && mkswap " + path + " >/dev/null";
    if (std::system(make.c_str()) != 0) {
      why_not_ = "cannot make a swap file";
      return;
    }
    on_ = ::swapon(path.c_str(), SWAP_FLAG_PREFER | 32767) == 0;
    if (!on_) why_not_ = std::string("swapon: ") + std::strerror(errno);
  }
  ~KernelSwap() {
    if (on_) ::swapoff(path_.c_str());
  }
  KernelSwap(const KernelSwap&) = delete;
  KernelSwap& operator=(const KernelSwap&) = delete;
  const std::string& why_not() const { return why_not_; }

 private:
  const std::string path_;
  std::string why_not_;
  bool on_ = false;
};

class Hazard24b_KernelSwap : public Hazard24_Locked {};

// The kernel swaps pages out while the library takes them and threads bring them back.
TEST_P(Hazard24b_KernelSwap, PageoutAgainstTakeAndGive) {
  const TempDirectory place;
  const KernelSwap swap(place.file("kernel-swap"));
  if (!swap.why_not().empty()) GTEST_SKIP() << swap.why_not();
  const auto end = in_child([&](Findings& findings) {
    auto host = Host::create(host_options(directory_.path()));
    if (!findings.check(host, "Host::create")) return;
    auto guest = host->create_guest(guest_options("g", 8 * MiB));
    if (!findings.check(guest, "create_guest")) return;
    const auto memory = guest->memory();
    PageOracle oracle(memory, 1);
    oracle.write(0, oracle.pages());
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> pushed{0}, taken{0};
    std::thread pusher([&] {
      std::mt19937_64 random(1);
      while (!stop) {
        const auto page = random() % (oracle.pages() - 64);
        if (::madvise(memory.data() + page * kPageSize, 64 * kPageSize, MADV_PAGEOUT) == 0) ++pushed;
      }
    });
    std::thread taker([&] {
      while (!stop) {
        const auto r = guest->reclaim(1 * MiB);
        if (r) taken += *r;
      }
    });
    std::mt19937_64 random(2);
    for (int n = 0; n < 6000; ++n) {
      const auto page = random() % oracle.pages();
      if (oracle.look(page) != PageOracle::Look::right)
        findings.check(false, "page " + std::to_string(page) + " is wrong");
      if (n % 3 == 0) oracle.write(page);
      if (n % 500 == 0) {
        const auto first = random() % (oracle.pages() - 8);
        if (findings.check(guest->discard(first * kPageSize, 8 * kPageSize), "discard"))
          oracle.expect_zeros(first, first + 8);
      }
    }
    stop = true;
    pusher.join();
    taker.join();
    findings.check_equal(oracle.check().wrong, 0U, "wrong pages at the end");
    findings.check(pushed > 0, "the kernel took no MADV_PAGEOUT");
    findings.check(taken > 0, "the library took nothing");
  });
  VMM_EXPECT_CHILD(end);
}

class Hazard24b_Ksm : public Hazard24_Locked {};

// Pages that KSM has merged refuse to move, or are copied: never another page's bytes, and movable once written.
TEST_P(Hazard24b_Ksm, MergedPagesAreNotMixedUp) {
  const std::string ksm = "/sys/kernel/mm/ksm/";
  const SystemSetting pages(ksm + "pages_to_scan", "5000"), sleep(ksm + "sleep_millisecs", "0"), run(ksm + "run", "1");
  if (!run.changed()) GTEST_SKIP() << "KSM cannot be started here";
  const Deadline deadline(std::chrono::seconds(100), "KSM");
  auto host = Host::create(host_options(directory_.path()));
  ASSERT_TRUE(host) << host.error().message();
  auto options = guest_options("g", 4 * MiB);
  options.large_pages = false;
  auto guest = host->create_guest(options);
  ASSERT_TRUE(guest);
  const auto memory = guest->memory();
  // Four contents, so that many pages are equal; every page of the second half is its own.
  const auto fill = [&](std::size_t page, std::uint64_t value) {
    auto* words = reinterpret_cast<std::uint64_t*>(memory.data() + page * kPageSize);
    for (std::size_t i = 0; i < 512; ++i) words[i] = value + i;
  };
  std::vector<std::uint64_t> expected(memory.size() / kPageSize);
  for (std::size_t page = 0; page < expected.size(); ++page)
    fill(page, expected[page] = page < expected.size() / 2 ? page % 4 + 1 : page * 1000);
  ASSERT_EQ(::madvise(memory.data(), memory.size(), MADV_MERGEABLE), 0);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (system_number(ksm + "pages_sharing") == 0 && std::chrono::steady_clock::now() < until)
    std::this_thread::yield();
  if (system_number(ksm + "pages_sharing") == 0) GTEST_SKIP() << "KSM merged nothing";
  std::mt19937_64 random(3);
  for (int round = 0; round < 4; ++round) {
    ASSERT_TRUE(guest->reclaim(4 * MiB));
    for (std::size_t page = 0; page < expected.size(); ++page) {
      const auto* words = reinterpret_cast<const volatile std::uint64_t*>(memory.data() + page * kPageSize);
      ASSERT_TRUE(words[0] == expected[page] && words[511] == expected[page] + 511) << "page " << page;
      if (random() % 8 == 0) fill(page, expected[page] = random() % 3 == 0 ? 2 : random());
    }
  }
  ::madvise(memory.data(), memory.size(), MADV_UNMERGEABLE);
}

VMM_EACH_WAY(Hazard24_Locked);
VMM_EACH_WAY(Hazard24b_KernelSwap);
VMM_EACH_WAY(Hazard24b_Ksm);

}  // namespace
}  // namespace vmm::test
