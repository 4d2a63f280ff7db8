// A worker that is held stands still: what fork() copies meanwhile (memory, staging, page words) agrees. Nobody is held
// up for ever by that.
#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "host/guest_core.h"
#include "support/deadline.h"
#include "support/host_rig.h"
#include "support/kernel_view.h"
#include "topology/topology.h"

namespace vmm::test {
namespace {

using region::PageState;
using stress::core_of;

class WorkerHold : public EachWay {};
VMM_EACH_WAY(WorkerHold);

// The first page that is neither in staging nor anywhere else by its word, although that does not change; -1: none.
std::int64_t page_in_no_place(const region::GuestMemory& memory) {
  for (std::uint64_t page = 0; page < memory.pages(); ++page) {
    const auto word = memory.table.load(page);
    if (word.state() != PageState::isolated && !(word.state() == PageState::resident && word.locked())) continue;
    const bool somewhere = resident_pages(memory.staged(page), 1) + resident_pages(memory.at(page), 1) > 0;
    if (!somewhere && memory.table.load(page).raw() == word.raw()) return static_cast<std::int64_t>(page);
  }
  return -1;
}

TEST_P(WorkerHold, WordsAndMemoryAgreeMeanwhile) {
  const Deadline deadline(std::chrono::seconds(200), "holding a worker");
  HostRig rig(GetParam());
  auto guest = rig.add("g", 1024);
  fill_guest(guest, 1);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) {
      EXPECT_TRUE(guest.reclaim(guest.memory().size()));
      EXPECT_TRUE(guest.restore());
    }
  });
  auto& core = *core_of(guest);
  const auto& left = core.memory().counters.freed;
  std::int64_t nowhere = -1;
  bool stood = true;
  // Held often while pages are on their way out.
  for (std::uint64_t before = 0, times = 0; times < 50 && nowhere < 0 && stood;) {
    const GuestCore::Hold held(core);
    const auto now = left.load();
    nowhere = page_in_no_place(core.memory());
    stood = left.load() == now;
    times += now != before ? 1 : 0;
    before = now;
  }
  EXPECT_EQ(nowhere, -1);
  EXPECT_TRUE(stood);
  stop = true;
  other.join();
  EXPECT_EQ(wrong_in(guest, 1), "");
}

TEST_P(WorkerHold, WhoeverNeedsMemoryGetsItNevertheless) {
  const Deadline deadline(std::chrono::seconds(100), "memory while a worker is held");
  HostRig rig(GetParam(), [](HostOptions& o) {
    // Each node has buffers of its own.
    o.memory = 20 * MiB + topology::Topology::discover()->nodes().size() * 5 * MiB;
  });
  auto guest = rig.add("g", 2 * rig.host().stats()->memory / kPageSize);
  ASSERT_TRUE(guest);
  const GuestCore::Hold held(*core_of(guest));
  fill_guest(guest, 1);  // more than there is
  EXPECT_GT(guest.stats()->swapped_out, 0u);
  EXPECT_EQ(wrong_in(guest, 1), "");
}

// Huge pages that are zeroed ahead come from the worker.
TEST_P(WorkerHold, FirstTouchesAreServed) {
  const Deadline deadline(std::chrono::seconds(100), "first touches while a worker is held");
  HostRig rig(GetParam(), [](HostOptions& o) { o.memory = 256 * MiB; });
  auto guest = rig.add("g", 64 * MiB / kPageSize, true);
  const GuestCore::Hold held(*core_of(guest));
  fill_guest(guest, 1);
  EXPECT_EQ(wrong_in(guest, 1), "");
}

TEST_P(WorkerHold, OthersDropNothingMeanwhile) {
  const Deadline deadline(std::chrono::seconds(100), "discards while a guest is held");
  HostRig rig(GetParam());
  auto guest = rig.add("g", 256);
  fill_guest(guest, 1);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    for (std::uint64_t page = 0; !stop; page = (page + 1) % 256) {
      EXPECT_TRUE(guest.discard(page * kPageSize, kPageSize));
      fill_page(page_at(guest, page), 1, page, 1);
    }
  });
  for (int i = 0; i < 200; ++i) {
    const GuestCore::Hold held(*core_of(guest));
    // Fills may go on: they lead into memory, and nothing leads out of it.
    std::vector<bool> there;
    for (std::uint64_t page = 0; page < 256; ++page) there.push_back(resident_pages(page_at(guest, page), 1) == 1);
    for (std::uint64_t page = 0; page < 256; ++page)
      ASSERT_TRUE(!there[page] || resident_pages(page_at(guest, page), 1) == 1) << page;
  }
  stop = true;
  other.join();
}

TEST_P(WorkerHold, HoldersTakeTurns) {
  const Deadline deadline(std::chrono::seconds(100), "two who hold a worker");
  HostRig rig(GetParam());
  auto guest = rig.add("g", 64);
  auto& core = *core_of(guest);
  std::atomic<int> inside{0};
  const auto take_turns = [&] {
    for (int i = 0; i < 200; ++i) {
      const GuestCore::Hold held(core);
      EXPECT_EQ(inside.fetch_add(1), 0);
      EXPECT_EQ(inside.fetch_sub(1), 1);
    }
  };
  std::thread other(take_turns);
  take_turns();
  other.join();
  fill_guest(guest, 1);
  EXPECT_GT(HostRig::reclaim_all(guest), 0u) << "it works again";
  EXPECT_EQ(wrong_in(guest, 1), "");
}

}  // namespace
}  // namespace vmm::test
