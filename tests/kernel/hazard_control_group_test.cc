// Hazards 20 and 27: the control group of the process has little more room than the budget, or gets less while guests
// fill it. Nobody is killed, and the budget holds as the kernel counts it.
#include <atomic>
#include <barrier>
#include <functional>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/above.h"
#include "support/child.h"
#include "support/memory_cgroup.h"
#include "support/page_oracle.h"
#include "support/temp_directory.h"
#include "support/way.h"

namespace vmm::test {
namespace {

class Hazard20_ControlGroup : public EachWay {};

constexpr std::uint64_t kBudget = 96 * MiB;

struct Touched {
  Guest guest;
  std::unique_ptr<PageOracle> oracle;
};

std::vector<Touched> make_guests(Host& host, Findings& findings, std::uint64_t each) {
  std::vector<Touched> guests;
  for (const char* name : {"a", "b", "c"}) {
    GuestOptions go;
    go.name = name;
    go.memory = each;
    auto guest = host.create_guest(go);
    if (!findings.check(guest, "create_guest")) break;
    auto oracle = std::make_unique<PageOracle>(guest->memory(), guests.size() + 1);
    guests.push_back({std::move(*guest), std::move(oracle)});
  }
  return guests;
}

// Three threads, each with its guest: in order, scattered, and everything once more. Between the first two they wait
// for each other, and one of them does `between`. Returns the most anonymous memory seen by the kernel.
std::uint64_t touch_at_full_speed(std::vector<Touched>& guests, const MemoryCgroup& group, Findings& findings,
                                  const std::function<void()>& between = [] {}) {
  std::atomic<std::uint64_t> most{0}, wrong{0};
  const auto touch = [&](PageOracle& oracle, std::uint64_t page, bool write) {
    if (oracle.look(page) != PageOracle::Look::right) ++wrong;
    if (write) oracle.write(page);
  };
  const auto notice = [&] {
    const auto now = group.anonymous();
    for (auto seen = most.load(); now > seen && !most.compare_exchange_weak(seen, now);) {
    }
  };
  std::barrier both(static_cast<std::ptrdiff_t>(guests.size()), [&]() noexcept { between(); });
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < guests.size(); ++i)
    threads.emplace_back([&, i] {
      auto& oracle = *guests[i].oracle;
      std::mt19937_64 random(i);
      for (std::uint64_t n = 0; n < oracle.pages(); ++n) {
        touch(oracle, n, n % 3 != 2);
        if (n % 64 == 0) notice();
      }
      both.arrive_and_wait();
      for (std::uint64_t n = 0; n < oracle.pages(); ++n) {
        touch(oracle, random() % oracle.pages(), n % 3 != 2);
        if (n % 64 == 0) notice();
      }
    });
  for (auto& t : threads) t.join();
  for (auto& g : guests) {
    const auto tally = g.oracle->check();
    wrong += tally.wrong + tally.lost;
  }
  findings.check_equal(wrong.load(), 0U, "wrong pages");
  return most;
}

TEST_P(Hazard20_ControlGroup, LimitJustAboveTheBudgetKillsNobody) {
  const MemoryCgroup group;
  if (!group.why_not().empty()) GTEST_SKIP() << group.why_not();
  const TempDirectory directory;
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    if (!group.set_limit(kBudget + kBudget / 4) || !group.enter()) return findings.skip("cannot enter a control group");
    auto host = Host::create(host_options(directory.path(), kBudget));
    if (!findings.check(host, "Host::create")) return;
    auto guests = make_guests(*host, findings, kBudget * 2 / 3);
    const auto before = group.anonymous();
    const auto most = touch_at_full_speed(guests, group, findings);
    findings.check(host->stats()->swapped > 0, "nothing was swapped: the guests were to be larger than the budget");
    // The oracle's own memory is in `before`; the kernel's count is exact to 64 pages a processor.
    const auto allowed = before + kBudget + kBudget / 100 + 1 * MiB;
    findings.check(most <= allowed, "the kernel counted " + std::to_string(most) + " bytes, allowed " +
                                        std::to_string(allowed) + " (before: " + std::to_string(before) + ")");
  }));
}

class Hazard27_ControlGroup : public EachWay {};

// Lowered to little more than is in use. What is touched before the host has seen it can still meet the kernel's
// killer, so the threads go on once it says so; from then on they may be as fast as they can.
TEST_P(Hazard27_ControlGroup, LimitThatShrinksUnderTheBudgetIsKept) {
  const MemoryCgroup group;
  if (!group.why_not().empty()) GTEST_SKIP() << group.why_not();
  const TempDirectory directory;
  const auto end = in_child([&](Findings& findings) {
    if (!group.set_limit(kBudget * 2) || !group.enter()) return findings.skip("cannot enter a control group");
    auto host = Host::create(host_options(directory.path(), kBudget));
    if (!findings.check(host, "Host::create")) return;
    std::promise<void> withheld;
    std::atomic<bool> said{false};
    host->on_event([&](const Event& e) {
      if (e.kind == EventKind::budget_withheld && !said.exchange(true)) withheld.set_value();
    });
    auto guests = make_guests(*host, findings, kBudget * 2 / 3);
    std::uint64_t lowered = 0;
    touch_at_full_speed(guests, group, findings, [&] {
      lowered = group.used() + 4 * MiB;
      if (group.set_limit(lowered)) withheld.get_future().wait();
    });
    findings.check(group.limit() <= lowered, "the kernel refused the lower limit");
    findings.check(said, "the host has not seen that the limit is lower");
    host->on_event({});
  });
  VMM_EXPECT_CHILD(end);
  EXPECT_TRUE(directory.entries().empty());
}

// The same, tick by tick, with a guest that is far below the budget.
TEST_P(Hazard27_ControlGroup, LoweredLimitMakesTheHostReclaimFirst) {
  const MemoryCgroup group;
  if (!group.why_not().empty()) GTEST_SKIP() << group.why_not();
  const TempDirectory directory;
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    if (!group.enter()) return findings.skip("cannot enter a control group");
    auto options = host_options(directory.path(), 256 * MiB);
    options.scheduler = Scheduler::manual;
    options.management = Management::at_creation;
    auto host = Host::create(options);
    if (!findings.check(host, "Host::create")) return;
    auto small_pages = guest_options("shrunk", 512 * MiB);
    small_pages.large_pages = false;
    auto guest = host->create_guest(small_pages);
    if (!findings.check(guest, "create_guest")) return;
    PageOracle oracle(guest->memory(), 1);
    const auto first = 192 * MiB / kPageSize;
    oracle.write(0, first);
    // From here on the group has 8 MiB more than is used now, and the budget over 40 MiB more than the guest holds.
    bool withheld = false;
    host->on_event([&](const Event& e) { withheld |= e.kind == EventKind::budget_withheld; });
    findings.check(group.set_limit(group.used() + 8 * MiB), "the kernel refused the lower limit");
    findings.check(host->tick(std::chrono::seconds(1)), "tick");
    if (!findings.check(withheld, "the host has not seen that the limit is lower")) return;
    const auto s = *host->stats();
    findings.check(s.withheld > 0, "withheld = 0");
    findings.check_equal(s.free, base::above(s.memory, s.withheld + s.consumed), "free");
    findings.check(s.memory - s.withheld <= group.limit(), "withheld = " + std::to_string(s.withheld));
    constexpr std::uint64_t kStep = 4 * MiB / kPageSize;
    for (auto page = first; page < oracle.pages(); page += kStep) {
      oracle.write(page, page + kStep);
      findings.check(host->tick(std::chrono::seconds(1) + std::chrono::nanoseconds(page)), "tick");
    }
    const auto tally = oracle.check();
    findings.check_equal(tally.wrong + tally.lost, 0U, "wrong pages");
    host->on_event({});
  }));
}

VMM_EACH_WAY(Hazard20_ControlGroup);
VMM_EACH_WAY(Hazard27_ControlGroup);

}  // namespace
}  // namespace vmm::test
