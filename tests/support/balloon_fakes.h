// A guest and drivers for tests of the balloon: the guest is a table, a driver does what the test says, and time is the
// test's.
// Thread-safety: FakeGuest and Scripted may be used by any thread; the fixture by the test's.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "host/balloon.h"
#include "support/eventually.h"
#include "vmm/units.h"

namespace vmm::test {

using Ranges = std::vector<BalloonRange>;

inline constexpr base::Nanos kTimeout = std::chrono::milliseconds(1000);
inline constexpr base::Nanos kStart = std::chrono::seconds(100);

inline BalloonRange range(std::uint64_t page, std::uint64_t pages) { return {page * kPageSize, pages * kPageSize}; }

class FakeGuest final : public host::BalloonGuest {
 public:
  explicit FakeGuest(std::uint64_t pages) : resident_(pages, true), ballooned_(pages, false), room_(pages) {}

  std::uint64_t pages() const noexcept override { return resident_.size(); }
  std::uint64_t room() const noexcept override { return room_; }
  std::uint64_t popped() const noexcept override { return popped_; }
  reclaim::Given give(std::uint64_t first, std::uint64_t count, std::uint64_t most) noexcept override {
    std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_);
    EXPECT_LE(first + count, pages());
    reclaim::Given given;
    for (std::uint64_t i = 0; i < count; ++i) {
      if (ballooned_[first + i]) given.already.set(i);
      else if (given.accepted.count() < most && first + i != pinned) {
        given.accepted.set(i);
        given.freed += resident_[first + i] ? 1 : 0;
        ballooned_[first + i] = true;
        resident_[first + i] = false;
        --room_;
      }
    }
    given.refused = count - given.accepted.count();
    refused_ += given.refused;
    return given;
  }
  reclaim::PageStretch take_back(std::uint64_t first, std::uint64_t count) noexcept override {
    std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_);
    reclaim::PageStretch taken{first, 0};
    for (auto page = first; page < first + count; ++page) {
      if (!ballooned_[page] && taken.count > 0) break;
      if (!ballooned_[page]) continue;
      if (taken.count++ == 0) taken.first = page;
      ballooned_[page] = false;
      ++room_;
    }
    return taken;
  }
  void count_refused(std::uint64_t pages) noexcept override { refused_ += pages; }
  void count_late() noexcept override { ++late_; }

  void pop(std::uint64_t first, std::uint64_t count) {
    std::lock_guard lock(mutex_);
    for (auto page = first; page < first + count; ++page)
      if (ballooned_[page]) {
        ballooned_[page] = false;
        resident_[page] = true;
        ++popped_;
        ++room_;
      }
  }
  std::uint64_t ballooned() const {
    std::lock_guard lock(mutex_);
    return static_cast<std::uint64_t>(std::count(ballooned_.begin(), ballooned_.end(), true));
  }
  void set_room(std::uint64_t pages) { room_ = pages; }
  // Nobody may use it from now on.
  void end() {
    std::lock_guard lock(mutex_);
    ended_ = true;
  }
  std::uint64_t refused() const { return refused_; }
  std::uint64_t late() const { return late_; }

  std::uint64_t pinned = ~std::uint64_t{0};

 private:
  mutable std::mutex mutex_;
  std::vector<bool> resident_, ballooned_;
  std::atomic<std::uint64_t> room_;
  std::atomic<std::uint64_t> popped_{0}, refused_{0}, late_{0};
  bool ended_ = false;
};

// Answers what the test says, and remembers what it was told.
class Scripted final : public BalloonDriver {
 public:
  using Script = std::function<Ranges(std::uint64_t)>;
  explicit Scripted(Script script, std::atomic<bool>* gone = nullptr) : script_(std::move(script)), gone_(gone) {}
  ~Scripted() override {
    if (gone_ != nullptr) *gone_ = true;
  }
  Ranges inflate(std::uint64_t bytes) override {
    ++asked;
    return script_(bytes);
  }
  void deflate(const Ranges& ranges) override {
    std::lock_guard lock(mutex_);
    told_.push_back(ranges);
  }
  std::vector<Ranges> told() const {
    std::lock_guard lock(mutex_);
    return told_;
  }
  std::atomic<int> asked{0};

 private:
  const Script script_;
  std::atomic<bool>* const gone_;
  mutable std::mutex mutex_;
  std::vector<Ranges> told_;
};

// A driver is held here until the test lets it go.
struct Hold {
  std::atomic<bool> inside{false}, go{false};
  void wait() {
    inside = true;
    go.wait(false);
  }
  void release() {
    go = true;
    go.notify_all();
  }
};

class BalloonFixture : public testing::Test {
 protected:
  std::shared_ptr<Scripted> set(Scripted::Script script, std::atomic<bool>* gone = nullptr) {
    auto driver = std::make_shared<Scripted>(std::move(script), gone);
    const auto r = balloon_->set_driver(driver);
    EXPECT_TRUE(r) << r.error().message();
    return driver;
  }
  // Asks, and waits for the end of the request.
  std::uint64_t inflate(std::uint64_t pages) {
    const auto asked = balloon_->inflate(pages, now_);
    settle();
    return asked;
  }
  void settle() {
    EXPECT_TRUE(eventually([&] { return !balloon_->busy(); }));
    balloon_->poll(now_, kTimeout);
  }
  std::string news() {
    const auto n = balloon_->take_news();
    return n ? n->reason : "";
  }

  FakeGuest guest_{1024};
  std::unique_ptr<host::Balloon> balloon_ = std::make_unique<host::Balloon>(guest_);
  base::Nanos now_ = kStart;
};

}  // namespace vmm::test
