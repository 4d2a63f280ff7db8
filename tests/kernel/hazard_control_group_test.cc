// Hazards 20 and 27: the control group of the process has little more room than the budget, or gets less while guests
// fill it. Nobody is killed, and the budget holds as the kernel counts it.
#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

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

// Three threads, each with its guest: in order, scattered, and everything once more. Returns the most anonymous
// memory seen by the kernel.
std::uint64_t touch_at_full_speed(std::vector<Touched>& guests, const MemoryCgroup& group, Findings& findings,
                                  const std::function<void(std::uint64_t)>& step = {}) {
  std::atomic<std::uint64_t> most{0}, wrong{0};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < guests.size(); ++i)
    threads.emplace_back([&, i] {
      auto& oracle = *guests[i].oracle;
      std::mt19937_64 random(i);
      for (std::uint64_t n = 0; n < 2 * oracle.pages(); ++n) {
        const auto page = n < oracle.pages() ? n : random() % oracle.pages();
        if (oracle.look(page) != PageOracle::Look::right) ++wrong;
        if (n % 3 != 2) oracle.write(page);
        if (n % 64 == 0) {
          const auto now = group.anonymous();
          for (auto seen = most.load(); now > seen && !most.compare_exchange_weak(seen, now);) {
          }
        }
        if (step && i == 0) step(n);
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
    findings.check(host->stats().swapped > 0, "nothing was swapped: the guests were to be larger than the budget");
    // The oracle's own memory is in `before`; the kernel's count is exact to 64 pages a processor.
    const auto allowed = before + kBudget + kBudget / 100 + 1 * MiB;
    findings.check(most <= allowed, "the kernel counted " + std::to_string(most) + " bytes, allowed " +
                                        std::to_string(allowed) + " (before: " + std::to_string(before) + ")");
  }));
}

class Hazard27_ControlGroup : public EachWay {};

TEST_P(Hazard27_ControlGroup, LimitThatShrinksUnderTheBudgetIsKept) {
  const MemoryCgroup group;
  if (!group.why_not().empty()) GTEST_SKIP() << group.why_not();
  const TempDirectory directory;
  const auto end = in_child([&](Findings& findings) {
    if (!group.set_limit(kBudget * 2) || !group.enter()) return findings.skip("cannot enter a control group");
    auto host = Host::create(host_options(directory.path(), kBudget));
    if (!findings.check(host, "Host::create")) return;
    auto guests = make_guests(*host, findings, kBudget * 2 / 3);
    const auto shrink = [&](std::uint64_t n) {
      if (n == guests[0].oracle->pages()) group.set_limit(kBudget * 7 / 8);
    };
    touch_at_full_speed(guests, group, findings, shrink);
    findings.check(group.limit() <= kBudget * 7 / 8, "the kernel refused the lower limit");
  });
  VMM_EXPECT_CHILD(end);
  EXPECT_TRUE(directory.entries().empty());
}

VMM_EACH_WAY(Hazard20_ControlGroup);
VMM_EACH_WAY(Hazard27_ControlGroup);

}  // namespace
}  // namespace vmm::test
