// Hazard 36: what a guest holds is nothing to guests of another salt: by the statistics, by the kernel's page map, by
// what a write costs them, and in the frames that one guest leaves and another is given.
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <initializer_list>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "os/pagemap.h"
#include "support/host_rig.h"
#include "support/kernel_view.h"

namespace vmm::test {
namespace {

constexpr std::uint64_t kPages = 2048;
constexpr std::uint64_t kBytes = kPages * kPageSize;
constexpr std::uint64_t kFirst = 7, kSecond = 8;  // ids of contents

// Pages of the guest that show a page of a file.
std::uint64_t file_pages(const Guest& guest) {
  const auto pagemap = os::Pagemap::open(false);
  EXPECT_TRUE(pagemap) << pagemap.error().message();
  std::vector<std::uint8_t> bits(kPages);
  EXPECT_EQ(pagemap->bits_from_pagemap(page_at(guest, 0), kPages, bits.data()), 0);
  return static_cast<std::uint64_t>(std::count_if(
      bits.begin(), bits.end(), [](auto b) { return (b & (os::kPresent | os::kFile)) == (os::kPresent | os::kFile); }));
}

// Which pages of the file the mappings inside the guest's memory show.
std::set<std::uint64_t> frames_of(const Guest& guest) {
  const auto from = reinterpret_cast<std::uintptr_t>(page_at(guest, 0)), to = from + kBytes;
  std::set<std::uint64_t> frames;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long first = 0, last = 0, offset = 0, inode = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %*s %lx %*s %lu", &first, &last, &offset, &inode) != 4) continue;
    if (first < from || last > to || inode == 0) continue;
    for (auto at = first; at < last; at += kPageSize) frames.insert((offset + at - first) / kPageSize);
  }
  return frames;
}

// Faults that this thread has taken while it wrote a word to each page.
long faults_of_writing(const Guest& guest) {
  const auto faults = [] {
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt + usage.ru_majflt;
  };
  const auto before = faults();
  for (std::uint64_t page = 0; page < kPages; ++page) {
    auto* const word = reinterpret_cast<volatile std::uint64_t*>(page_at(guest, page));
    *word = *word;
  }
  return faults() - before;
}

// Reads all pages of guests over and over, and keeps the first that does not hold what it should.
class Reader {
 public:
  Reader(std::vector<const Guest*> guests, std::uint64_t id)
      : thread_([this, guests = std::move(guests), id] {
          while (!stop_.load(std::memory_order_relaxed)) {
            for (const auto* guest : guests)
              if (wrong_.empty()) wrong_ = wrong_in(*guest, id);
            passes_.fetch_add(1);
          }
        }) {}
  ~Reader() { stop(); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  std::uint64_t passes() const { return passes_.load(); }
  // What was wrong.
  std::string stop() {
    stop_.store(true);
    if (thread_.joinable()) thread_.join();
    return wrong_;
  }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> passes_{0};
  std::string wrong_;  // the thread's until it has ended
  std::thread thread_;
};

class Hazard36_Salts : public EachWay {
 protected:
  static void on(HostOptions& o) {
    o.share_scan_ghz = 4;
    o.share_scan_time = std::chrono::hours(24);  // nothing by itself
  }
  static Guest add(HostRig& rig, const std::string& name, const std::string& salt, std::uint64_t id) {
    GuestOptions o;
    o.name = name;
    o.memory = kBytes;
    o.large_pages = false;
    o.share_salt = salt;
    o.node_affinity = {rig.host().stats()->nodes.front()};
    auto guest = rig.host().create_guest(o);
    EXPECT_TRUE(guest) << guest.error().message();
    if (!guest) return Guest();
    fill_guest(*guest, id);
    return std::move(*guest);
  }
  // Looks until so many pages of each of them are shared.
  static void share(HostRig& rig, std::initializer_list<const Guest*> guests, std::uint64_t pages = kPages) {
    EXPECT_TRUE(eventually([&] {
      EXPECT_TRUE(rig.host().share_now());
      return std::all_of(guests.begin(), guests.end(),
                         [&](const Guest* g) { return g->stats()->shared == pages * kPageSize; });
    }));
  }
};
VMM_EACH_WAY(Hazard36_Salts);

TEST_P(Hazard36_Salts, EqualPagesOfAnotherSaltAreLikeAnyOthers) {
  HostRig rig(GetParam(), on);
  auto a = add(rig, "a", "one", kFirst), same = add(rig, "same", "one", kFirst), b = add(rig, "b", "two", kFirst),
       alone = add(rig, "alone", "three", kSecond);
  share(rig, {&a, &same});
  const auto s = *b.stats();
  EXPECT_GE(s.share_scanned, kBytes);
  EXPECT_EQ(s.shared, 0u);
  EXPECT_EQ(s.share_made, 0u);
  EXPECT_EQ(s.share_changing, 0u) << "its pages were compared with somebody's";
  EXPECT_EQ(s.resident, kBytes);
  for (const auto* guest : {&a, &same, &b}) EXPECT_EQ(wrong_in(*guest, kFirst), "");
  EXPECT_EQ(file_pages(a), kPages);
  EXPECT_EQ(file_pages(b), 0u);
  EXPECT_EQ(smaps_bytes(page_at(a, 0), kBytes, "Anonymous"), 0u);
  EXPECT_EQ(smaps_bytes(page_at(b, 0), kBytes, "Anonymous"), kBytes);
  EXPECT_TRUE(frames_of(b).empty());
  // A first write breaks nothing, which is all that its time could tell: it takes what it takes in pages like nobody
  // else's, of which the kernel notes that they are written. Some faults are the machine's own: of pages that the
  // kernel moves, and of a sanitizer's memory.
  const auto faults = faults_of_writing(b), unlike = faults_of_writing(alone);
  EXPECT_NEAR(static_cast<double>(faults), static_cast<double>(unlike), static_cast<double>(kPages) / 8);
  EXPECT_EQ(smaps_bytes(page_at(b, 0), kBytes, "Anonymous"), kBytes) << "no page was copied";
  EXPECT_GE(faults_of_writing(a), static_cast<long>(kPages));
  EXPECT_EQ(b.stats()->faults, s.faults);
  for (const auto* guest : {&a, &same, &b}) EXPECT_EQ(wrong_in(*guest, kFirst), "");
}

// Two that share, of each of two salts, hold the same: there are two copies.
TEST_P(Hazard36_Salts, EachSaltHasACopyOfItsOwn) {
  HostRig rig(GetParam(), on);
  auto a = add(rig, "a", "one", kFirst), b = add(rig, "b", "one", kFirst);
  auto c = add(rig, "c", "two", kFirst), d = add(rig, "d", "two", kFirst);
  share(rig, {&a, &b, &c, &d});
  const auto one = frames_of(a), two = frames_of(c);
  EXPECT_EQ(one.size(), kPages);
  EXPECT_EQ(one, frames_of(b));
  EXPECT_EQ(two, frames_of(d));
  EXPECT_TRUE(std::none_of(two.begin(), two.end(), [&](auto frame) { return one.contains(frame); }));
  EXPECT_EQ(rig.host().stats()->shared_common, 2 * kBytes);
}

// Frames that guests of one salt have let go of are given to those of another, who read nothing but their own bytes at
// any time: frames of guests that have ended, and of pages that were discarded.
TEST_P(Hazard36_Salts, FramesComeWithoutTheBytesOfWhomTheyWere) {
  HostRig rig(GetParam(), on);
  constexpr std::uint64_t kMostRounds = 200;  // frames are given in turn, each of them once before one is given again
  std::set<std::uint64_t> before;
  std::uint64_t again = 0, round = 0;
  Guest a, b;  // who leaves frames
  for (; again < 2 * kPages && round < kMostRounds && !HasFailure(); ++round) {
    const auto id = kSecond + round, name = round + 1;
    auto c = add(rig, "c" + std::to_string(name), std::to_string(name), id);
    auto d = add(rig, "d" + std::to_string(name), std::to_string(name), id);
    Reader reader({&c, &d}, id);
    EXPECT_TRUE(eventually([&] { return reader.passes() > 0; }));
    if (round % 2 == 0) a = Guest(), b = Guest();
    for (auto* guest : {&a, &b}) EXPECT_TRUE(!*guest || guest->discard(0, kBytes / 2));
    share(rig, {&c, &d});
    const auto passes = reader.passes();
    EXPECT_TRUE(eventually([&] { return reader.passes() > passes + 1; }));
    EXPECT_EQ(reader.stop(), "");
    for (const auto* guest : {&a, &b})
      for (std::uint64_t page = 0; *guest && page < kPages; ++page)
        ASSERT_EQ(page < kPages / 2 ? (is_zero(page_at(*guest, page)) ? "" : "not zero")
                                    : wrong_page(page_at(*guest, page), id - 1, page, 1),
                  "")
            << page;
    const auto now = frames_of(c);
    again += static_cast<std::uint64_t>(
        std::count_if(now.begin(), now.end(), [&](std::uint64_t frame) { return before.contains(frame); }));
    before.insert(now.begin(), now.end());
    a = std::move(c);
    b = std::move(d);
  }
  EXPECT_GE(again, 2 * kPages) << "frames that had been another salt's, in " << round << " rounds";
}

}  // namespace
}  // namespace vmm::test
