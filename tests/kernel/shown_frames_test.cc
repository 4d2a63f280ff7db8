// Frames in the places of a guest's pages: what is seen of them, what a write makes of them, and that neither a reader
// nor a writer notices when they come and go. The test does what a worker would: it locks words and accounts for pages.
#include "sharing/shown_frames.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "reclaim/drop_leftovers.h"
#include "region/isolator.h"
#include "support/call_hook.h"
#include "support/child.h"
#include "support/eventually.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"

namespace vmm::test {
namespace {

using region::PageState;
using region::PageWord;
using sharing::FrameRun;
using sharing::FrameStore;
using sharing::ShownFrames;

constexpr std::uint64_t kPages = 256, kFirst = 64, kCount = 64;  // those shown begin at kFirst

class Shown : public EachWay {
 protected:
  void SetUp() override {
    EachWay::SetUp();
    if (IsSkipped()) return;
    auto shown = ShownFrames::create();
    ASSERT_TRUE(shown) << shown.error().message();
    shown_ = std::make_unique<ShownFrames>(std::move(*shown));
    rig_ = std::make_unique<NodeRig>(GetParam());
    auto store = FrameStore::create(0, 4 * kPages, rig_->credit());
    ASSERT_TRUE(store) << store.error().message();
    store_ = std::move(*store);
  }
  static RigGuestOptions options() {
    RigGuestOptions o;
    o.pages = kPages;
    return o;
  }
  // A guest whose pages hold its patterns.
  RigGuest& filled() {
    auto& guest = rig_->add(options());
    guest.fill();
    rig_->settle(guest);
    return guest;
  }
  // The words of the pages shown, locked.
  std::vector<PageWord> lock(RigGuest& guest) {
    std::vector<PageWord> words;
    for (std::uint64_t i = 0; i < kCount; ++i) words.push_back(guest->table.lock(kFirst + i));
    return words;
  }
  void unlock(RigGuest& guest, const std::vector<PageWord>& words) {
    for (std::uint64_t i = 0; i < kCount; ++i) guest->table.unlock(kFirst + i, words[i]);
    guest->table.released();
  }
  // All of them are in staging, locked. Pages that the kernel refuses for a moment are asked for again; of those that
  // were rescued by copying the originals go first.
  std::vector<PageWord> isolate(RigGuest& guest) {
    std::vector<PageWord> words;
    EXPECT_TRUE(eventually([&] {
      reclaim::drop_leftovers(guest.memory());
      words = lock(guest);
      if (std::none_of(words.begin(), words.end(), [](PageWord w) { return w.writing(); })) return true;
      unlock(guest, words);
      return false;
    }));
    EXPECT_TRUE(eventually([&] {
      for (std::uint64_t i = 0; i < kCount; ++i) {
        if (words[i].state() != PageState::resident) continue;
        region::TakenSet taken;
        EXPECT_EQ(guest->isolator().take(guest.memory(), kFirst + i, 1, taken), 0);
        if (!taken[0]) return false;
        region::bump(guest->counters.staging);
        words[i] = words[i].with_state(PageState::isolated);
        guest->table.change(kFirst + i, words[i]);
      }
      return true;
    }));
    return words;
  }
  // Puts the run in the place of the guest's pages; with `copy`, their bytes are the run's from now on.
  int show(RigGuest& guest, FrameRun run, bool copy = false) {
    auto words = isolate(guest);
    if (copy) std::memcpy(store_->bytes(run.first), guest->staged(kFirst), kCount * kPageSize);
    const int error = ShownFrames::show(guest.memory(), kFirst, *store_, run);
    if (error == 0) {
      EXPECT_EQ(os::drop_pages(guest->staged(kFirst), kCount * kPageSize), 0);
      region::drop(guest->counters.staging, kCount);
      guest->uncharge(kCount);
      for (auto& word : words) word = word.with_state(PageState::shared);
    }
    unlock(guest, words);
    return error;
  }
  int hide(RigGuest& guest) {
    auto words = lock(guest);
    EXPECT_TRUE(guest->try_charge(kCount));
    const int error = shown_->hide(guest.memory(), kFirst, kCount);
    if (error == 0) {
      region::bump(guest->counters.staging, kCount);
      for (auto& word : words) word = word.with_state(PageState::isolated);
    } else {
      guest->uncharge(kCount);
    }
    unlock(guest, words);
    return error;
  }
  int drop(RigGuest& guest) {
    auto words = lock(guest);
    const int error = shown_->drop(guest.memory(), kFirst, kCount);
    if (error == 0)
      for (auto& word : words) word = word.with_state(PageState::empty);
    unlock(guest, words);
    return error;
  }
  FrameRun frames() {
    const auto run = store_->allocate(kCount);
    EXPECT_TRUE(run && run->count == kCount);
    return run.value_or(FrameRun{});
  }
  std::vector<std::uint8_t> bits(RigGuest& guest) {
    std::vector<std::uint8_t> bits(kCount);
    EXPECT_EQ(rig_->pagemap().bits(guest.at(kFirst), kCount, bits.data()), 0);
    return bits;
  }
  // Pages of it that are a frame, and that are the guest's own, as the kernel says.
  std::uint64_t of_file(RigGuest& guest) {
    const auto all = bits(guest);
    return static_cast<std::uint64_t>(std::count_if(all.begin(), all.end(), [](auto b) {
      return (b & (os::kFile | os::kPresent)) == (os::kFile | os::kPresent);
    }));
  }
  std::uint64_t own(RigGuest& guest) {
    const auto all = bits(guest);
    return static_cast<std::uint64_t>(
        std::count_if(all.begin(), all.end(), [](auto b) { return (b & (os::kFile | os::kPresent)) == os::kPresent; }));
  }
  std::unique_ptr<ShownFrames> shown_;
  std::unique_ptr<NodeRig> rig_;
  std::unique_ptr<FrameStore> store_;
};
VMM_EACH_WAY(Shown);

TEST_P(Shown, TwoGuestsReadOneCopyAndAWriteIsTheWritersOwn) {
  auto &a = rig_->add(options()), &b = rig_->add(options());
  for (auto* guest : {&a, &b})
    for (std::uint64_t page = 0; page < kPages; ++page) fill_page(guest->at(page), 7, page, 1);
  rig_->settle(a);
  rig_->settle(b);
  const auto run = frames();
  ASSERT_EQ(show(a, run, true), 0);
  ASSERT_EQ(show(b, run), 0);
  EXPECT_EQ(store_->allocated().value_or(0), kCount * kPageSize) << "one copy";
  for (auto* guest : {&a, &b}) {
    EXPECT_EQ(own(*guest), 0u);
    EXPECT_EQ(smaps_bytes((*guest)->at(0), kPages * kPageSize, "Anonymous"), (kPages - kCount) * kPageSize);
    for (std::uint64_t page = 0; page < kPages; ++page) EXPECT_EQ(wrong_page(guest->at(page), 7, page, 1), "");
    EXPECT_EQ(of_file(*guest), kCount);
  }
  fill_page(a.at(kFirst + 5), 7, kFirst + 5, 2);
  EXPECT_EQ(own(a), 1u);
  EXPECT_EQ(own(b), 0u);
  EXPECT_EQ(wrong_page(a.at(kFirst + 5), 7, kFirst + 5, 2), "");
  EXPECT_EQ(wrong_page(b.at(kFirst + 5), 7, kFirst + 5, 1), "");
  EXPECT_EQ(wrong_page(store_->bytes(run.first + 5), 7, kFirst + 5, 1), "");
  // Hidden, each has what it had.
  ASSERT_EQ(hide(a), 0);
  EXPECT_EQ(resident_pages(a.at(kFirst), kCount), 0u);
  EXPECT_EQ(resident_pages(a->staged(kFirst), kCount), kCount);
  for (std::uint64_t page = 0; page < kPages; ++page)
    EXPECT_EQ(wrong_page(a.at(page), 7, page, page == kFirst + 5 ? 2 : 1), "") << "given back by the fault thread";
  EXPECT_EQ(of_file(b), kCount) << "the other sees nothing of that";
  for (std::uint64_t page = 0; page < kPages; ++page) EXPECT_EQ(wrong_page(b.at(page), 7, page, 1), "");
}

TEST_P(Shown, WhatIsDroppedReadsAsZero) {
  auto& guest = filled();
  ASSERT_EQ(show(guest, frames(), true), 0);
  EXPECT_EQ(guest.wrong(), "");
  ASSERT_EQ(drop(guest), 0);
  for (std::uint64_t i = 0; i < kCount; ++i) EXPECT_TRUE(is_zero(guest.at(kFirst + i))) << i;
  EXPECT_EQ(guest.wrong(0, kFirst, 1), "");
  EXPECT_EQ(guest.wrong(kFirst + kCount, kPages, 1), "");
}

// Hazard 26: what was set for the guest's memory is set for frames shown there, and after them; and no mapping stays
// split (hazard 24d).
TEST_P(Shown, Hazard26_AllThatIsSetForTheMemoryStays) {
  auto& guest = filled();
  const auto flags = smaps_flags(guest.at(0));
  const auto mappings = mappings_in(guest.at(0), kPages * kPageSize);
  for (int round = 0; round < 3; ++round) {
    const auto run = frames();
    ASSERT_EQ(show(guest, run, true), 0);
    EXPECT_EQ(mappings_in(guest.at(0), kPages * kPageSize), mappings + 2);
    const auto shown = smaps_flags(guest.at(kFirst));
    EXPECT_NE(shown.find("dc"), std::string::npos) << "no child of fork() gets it: " << shown;
    EXPECT_NE(shown.find("dd"), std::string::npos) << "no core dump has it: " << shown;
    VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
      findings.check(mappings_in(guest.at(kFirst), kCount * kPageSize) == 0, "a child sees the frames");
    }));
    ASSERT_EQ(hide(guest), 0);
    EXPECT_EQ(guest.wrong(), "");
    EXPECT_EQ(mappings_in(guest.at(0), kPages * kPageSize), mappings);
    EXPECT_EQ(smaps_flags(guest.at(0)), flags);
    EXPECT_EQ(store_->release(run), 0);
    rig_->settle(guest);
  }
}

// Hazards 2b and 2c, 7: whoever reads sees what was written last, and no write is lost, while frames come and go.
TEST_P(Shown, Hazard02_NeitherReadersNorWritersNotice) {
  auto& guest = rig_->add(options());
  guest.fill();
  for (std::uint64_t i = 0; i < kCount; ++i) std::memset(guest.at(kFirst + i), 0, kPageSize);
  rig_->settle(guest);
  constexpr std::size_t kWriters = 2;
  std::atomic<bool> over{false}, backwards{false};
  std::atomic<std::uint64_t> reads{0};
  std::array<std::atomic<std::uint64_t>, kWriters> writes{};
  std::array<std::vector<std::uint64_t>, kWriters> added;
  std::vector<std::thread> threads;
  struct Joiner {
    std::atomic<bool>& over;
    std::vector<std::thread>& threads;
    ~Joiner() {
      over = true;
      for (auto& thread : threads) thread.join();
    }
  };
  std::optional<Joiner> joiner(std::in_place, over, threads);
  const auto word = [&](std::uint64_t i, std::size_t w) {
    return std::atomic_ref<std::uint64_t>(reinterpret_cast<std::uint64_t*>(guest.at(kFirst + i))[w]);
  };
  for (std::size_t w = 0; w < kWriters; ++w) {
    added[w].resize(kCount);
    threads.emplace_back([&, w] {
      base::Random random(w + 1);
      while (!over) {
        const auto i = random.below(kCount);
        word(i, w).fetch_add(1, std::memory_order_relaxed);
        ++added[w][i];
        writes[w].fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  threads.emplace_back([&] {
    base::Random random(9);
    std::vector<std::uint64_t> last(kCount);
    while (!over) {
      const auto i = random.below(kCount);
      const auto now = word(i, 0).load(std::memory_order_relaxed);
      if (now < last[i]) backwards = true;
      last[i] = now;
      reads.fetch_add(1, std::memory_order_relaxed);
    }
  });
  const auto everybody_works = [&] {
    const auto r = reads.load(), a = writes[0].load(), b = writes[1].load();
    EXPECT_TRUE(eventually([&] { return reads > r + 10 && writes[0] > a + 10 && writes[1] > b + 10; }));
  };
  for (int round = 0; round < 100; ++round) {
    const auto run = frames();
    ASSERT_EQ(show(guest, run, true), 0);
    everybody_works();
    ASSERT_EQ(hide(guest), 0);
    ASSERT_EQ(store_->release(run), 0);
    if (round % 4 == 0) everybody_works();
  }
  joiner.reset();
  EXPECT_FALSE(backwards);
  for (std::uint64_t i = 0; i < kCount; ++i)
    for (std::size_t w = 0; w < kWriters; ++w) ASSERT_EQ(word(i, w).load(), added[w][i]) << i;
  EXPECT_EQ(guest.wrong(0, kFirst, 1), "");
  EXPECT_EQ(guest.wrong(kFirst + kCount, kPages, 1), "");
}

// Hazard 28: whichever call fails, pages are as they were, and who writes goes on.
TEST_P(Shown, Hazard28_AFailureChangesNothing) {
  auto& guest = filled();
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> writes{0};
  std::thread writer([&] {
    for (std::uint64_t i = 0; !over; i = (i + 7) % kCount) {
      std::atomic_ref<std::uint64_t>(reinterpret_cast<std::uint64_t*>(guest.at(kFirst + i))[3])
          .fetch_xor(0, std::memory_order_relaxed);
      writes.fetch_add(1, std::memory_order_relaxed);
    }
  });
  const auto writes_go_on = [&] {
    const auto before = writes.load();
    EXPECT_TRUE(eventually([&] { return writes > before + 100; }));
  };
  const auto run = frames();
  struct Case {
    os::Call call;
    int error;
  };
  {
    // The guest's pages are isolated first: what fails is the showing alone.
    auto words = isolate(guest);
    std::memcpy(store_->bytes(run.first), guest->staged(kFirst), kCount * kPageSize);
    CallHook hook;
    hook.fail(os::Call::mremap, ENOMEM, 1);
    EXPECT_EQ(ShownFrames::show(guest.memory(), kFirst, *store_, run), ENOMEM);
    unlock(guest, words);
  }
  writes_go_on();
  EXPECT_EQ(guest.wrong(), "");
  rig_->settle(guest);
  EXPECT_EQ(show(guest, run, true), 0);
  for (const auto& [call, error] :
       {Case{os::Call::mmap, ENOMEM}, Case{os::Call::madvise, ENOMEM}, Case{os::Call::mprotect, ENOMEM},
        Case{os::Call::uffd_register, ENOMEM}, Case{os::Call::uffd_writeprotect, ENOMEM},
        Case{os::Call::mremap, ENOMEM}}) {
    SCOPED_TRACE(os::to_string(call));
    {
      CallHook hook;
      hook.fail(call, error, 1);
      EXPECT_EQ(hide(guest), error);
    }
    EXPECT_EQ(guest.state(kFirst), PageState::shared);
    EXPECT_EQ(resident_pages(guest->staged(kFirst), kCount), 0u);
    writes_go_on();
    EXPECT_EQ(guest.wrong(), "");
  }
  EXPECT_EQ(hide(guest), 0);
  writes_go_on();
  over = true;
  writer.join();
  EXPECT_EQ(guest.wrong(), "");
}

}  // namespace
}  // namespace vmm::test
