// Hazard 19: guests hold far more scattered equal pages than the process may have mappings (vm.max_map_count). Sharing
// stops by itself; malloc and threads find mappings then, and so does whatever ends the sharing of pages.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <latch>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "os/process_limits.h"
#include "support/host_rig.h"
#include "support/kernel_view.h"
#include "support/process_state.h"

namespace vmm::test {
namespace {

// Mappings that the application has beside its guests.
class UsedUp {
 public:
  explicit UsedUp(std::uint64_t count) : bytes_(count * kPageSize) {
    if (count == 0) return;
    void* const at = ::mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
      ADD_FAILURE() << "mmap";
      return;
    }
    start_ = static_cast<std::byte*>(at);
    // Neighbours of other rights never merge.
    for (std::uint64_t page = 0; page < count; page += 2)
      EXPECT_EQ(::mprotect(start_ + page * kPageSize, kPageSize, PROT_READ), 0) << page;
  }
  ~UsedUp() {
    if (start_ != nullptr) ::munmap(start_, bytes_);
  }
  UsedUp(const UsedUp&) = delete;
  UsedUp& operator=(const UsedUp&) = delete;

 private:
  const std::uint64_t bytes_;
  std::byte* start_ = nullptr;
};

struct Runs {
  std::uint64_t count, length;
};

// What the pages of two guests hold: the same runs of pages, in another order in each, and between any two runs a page
// like no other, so that each run costs mappings of its own.
class Contents {
 public:
  explicit Contents(const std::vector<Runs>& kinds) {
    std::mt19937_64 random(1);
    for (const auto& [count, length] : kinds) {
      std::vector<std::uint64_t> order(count);
      std::iota(order.begin(), order.end(), 0);
      for (auto& pages : pages_) {
        for (const auto run : order) {
          for (std::uint64_t i = 0; i < length; ++i) pages.push_back(common_ + run * length + i);
          pages.push_back(kOwn);
        }
        std::shuffle(order.begin(), order.end(), random);
      }
      common_ += count * length;
    }
  }

  std::uint64_t pages() const { return pages_[0].size(); }
  // Pages of each that the other holds, too.
  std::uint64_t common() const { return common_; }
  void fill(const Guest& guest, std::size_t which) const {
    for (std::uint64_t page = 0; page < pages(); ++page)
      fill_page(page_at(guest, page), id(which, page), number(which, page), 1);
  }
  // The first wrong page; empty: none.
  std::string wrong(const Guest& guest, std::size_t which) const {
    for (std::uint64_t page = 0; page < pages(); ++page) {
      const auto w = wrong_page(page_at(guest, page), id(which, page), number(which, page), 1);
      if (!w.empty()) return "page " + std::to_string(page) + ": " + w;
    }
    return {};
  }

 private:
  static constexpr std::uint64_t kOwn = ~std::uint64_t{0};
  static constexpr std::uint64_t kCommonId = 7;
  bool own(std::size_t which, std::uint64_t page) const { return pages_[which][page] == kOwn; }
  std::uint64_t id(std::size_t which, std::uint64_t page) const { return own(which, page) ? 1 + which : kCommonId; }
  std::uint64_t number(std::size_t which, std::uint64_t page) const {
    return own(which, page) ? page : pages_[which][page];
  }

  std::uint64_t common_ = 0;
  std::vector<std::uint64_t> pages_[2];
};

// What a process does that knows nothing of guests.
void expect_room_for_others() {
  struct Free {
    void operator()(void* memory) const noexcept { std::free(memory); }
  };
  using Memory = std::unique_ptr<void, Free>;
  EXPECT_NE(Memory(std::malloc(GiB)), nullptr) << "in one piece";
  std::vector<Memory> pieces;
  for (int i = 0; i < 1024; ++i) {
    pieces.emplace_back(std::malloc(MiB));
    ASSERT_NE(pieces.back(), nullptr) << "piece " << i;
  }
  constexpr int kThreads = 64;
  std::latch all(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) EXPECT_NO_THROW(threads.emplace_back([&] { all.arrive_and_wait(); })) << i;
  all.count_down(kThreads - static_cast<std::ptrdiff_t>(threads.size()));
  for (auto& thread : threads) thread.join();
}

class Hazard19_Mappings : public EachWay {
 protected:
  void SetUp() override {
    EachWay::SetUp();
    if (IsSkipped()) return;
    limit_ = os::max_map_count().value();
    if (limit_ > 200'000) GTEST_SKIP() << "vm.max_map_count = " << limit_ << ": using that many up takes too long";
  }

  static Guest add(HostRig& rig, const std::string& name, const Contents& contents, std::size_t which) {
    GuestOptions o;
    o.name = name;
    o.memory = contents.pages() * kPageSize;
    o.large_pages = false;
    o.share_salt = "common";
    o.node_affinity = {rig.host().stats()->nodes.front()};
    auto guest = rig.host().create_guest(o);
    EXPECT_TRUE(guest) << guest.error().message();
    if (!guest) return Guest();
    contents.fill(*guest, which);
    return std::move(*guest);
  }

  // Looks until a whole look shares nothing more, although there is more to be shared.
  void share_all_that_may_be(HostRig& rig, const Contents& contents, const Guest& a, const Guest& b) const {
    const auto refused = [&] { return a.stats()->share_refused + b.stats()->share_refused; };
    const auto before = refused();
    EXPECT_TRUE(eventually([&] {
      const auto r = rig.host().share_now();
      EXPECT_TRUE(r) << r.error().message();
      return !r || r->shared == 0;
    }));
    EXPECT_GT(refused(), before);
    EXPECT_GT(a.stats()->shared, 0u);
    EXPECT_LT(a.stats()->shared, contents.common() * kPageSize);
    EXPECT_LE(mappings(), limit_ - limit_ / 8) << "an eighth is for others";
  }

  void use_all_that_there_are(const std::vector<Runs>& kinds) const {
    const auto at_first = mappings();
    HostRig rig(GetParam(), [](HostOptions& o) {
      o.memory = GiB;
      o.share_scan_ghz = 4;
      o.share_scan_time = std::chrono::hours(24);  // nothing by itself
    });
    const Contents contents(kinds);
    const auto pages = contents.pages(), bytes = pages * kPageSize;
    auto a = add(rig, "a", contents, 0), b = add(rig, "b", contents, 1);
    const auto anonymous = [&](const Guest& guest) { return smaps_bytes(page_at(guest, 0), bytes, "Anonymous"); };

    share_all_that_may_be(rig, contents, a, b);
    expect_room_for_others();
    EXPECT_EQ(contents.wrong(a, 0), "");
    EXPECT_EQ(contents.wrong(b, 1), "");
    {
      const auto pin = b.pin(0, bytes);
      ASSERT_TRUE(pin) << pin.error().message();
      EXPECT_EQ(b.stats()->shared, 0u);
      EXPECT_EQ(anonymous(b), bytes);
      EXPECT_EQ(contents.wrong(b, 1), "");
      // The other half of each pair is still there, and is written, all of it.
      EXPECT_GT(a.stats()->shared, 0u);
      fill_guest(a, 1, 2);
      EXPECT_TRUE(eventually([&] {
        EXPECT_TRUE(rig.host().share_now());
        return a.stats()->shared == 0;
      }));
      EXPECT_EQ(anonymous(a), bytes);
      EXPECT_EQ(wrong_in(a, 1, 2), "");
      EXPECT_EQ(rig.host().stats()->shared_common, 0u);
    }

    // Once more, and a guest ends.
    contents.fill(a, 0);
    share_all_that_may_be(rig, contents, a, b);
    expect_room_for_others();
    a = Guest();
    EXPECT_EQ(contents.wrong(b, 1), "");
    b = Guest();
    EXPECT_EQ(rig.host().stats()->shared_common, 0u);
    EXPECT_EQ(rig.host().stats()->consumed, rig.host().stats()->overhead);
    rig.end();
    EXPECT_LE(mappings(), at_first + 1000) << "heaps of the threads, and what the tests themselves have allocated";
  }

  std::uint64_t limit_ = 0;
};
VMM_EACH_WAY(Hazard19_Mappings);

TEST_P(Hazard19_Mappings, SinglePagesOfTheWholeLimit) { use_all_that_there_are({{16'384, 1}}); }

// Longer runs are given what single pages are refused: then the last mapping that sharing may have is used, too.
TEST_P(Hazard19_Mappings, RunsOfAnyLengthWhereTheApplicationHasMost) {
  const UsedUp others(limit_ - 12'288 - mappings());
  use_all_that_there_are({{1'024, 1}, {512, 8}, {256, 64}});
}

}  // namespace
}  // namespace vmm::test
