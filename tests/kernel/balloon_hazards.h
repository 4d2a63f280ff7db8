// The host of the tests of hazards 37 to 39: one guest with a balloon driver, a neighbour, and one who wants more than
// there is.
// Thread-safety: one thread, but for what drivers do in their calls.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/balloon_fakes.h"
#include "support/host_rig.h"

namespace vmm::test {

inline constexpr std::uint64_t kGuest = 32 * MiB, kPages = kGuest / kPageSize;
// The lower half of the guest with the driver is in use, the upper half is free.
inline constexpr std::uint64_t kUsed = kPages / 2;
inline constexpr auto kPatience = std::chrono::milliseconds(50);

// Gives up the free pages, each once.
class Honest {
 public:
  Ranges operator()(std::uint64_t bytes) {
    const auto first = next_;
    next_ = std::min(kPages, next_ + bytes / kPageSize);
    return next_ > first ? Ranges{range(first, next_ - first)} : Ranges{};
  }

 private:
  std::uint64_t next_ = kUsed;
};

class BalloonHazards : public EachWay {
 protected:
  // 64 MiB, in which the guest with the driver has 32, a neighbour 8 that are reserved, and the one who presses 40.
  void SetUp() override {
    EachWay::SetUp();
    if (IsSkipped()) return;
    auto o = host_options(directory_.path(), 64 * MiB);
    o.idle_tax = 0;
    o.management = Management::at_creation;
    o.balloon_timeout = kPatience;
    auto host = Host::create(o);
    ASSERT_TRUE(host) << host.error().message();
    host_ = std::move(*host);
    ASSERT_TRUE(host_.on_event([this](const Event& e) {
      const std::lock_guard lock(mutex_);
      events_.push_back(e);
    }));
    guest_ = add("ballooned", kGuest, 0);
    neighbour_ = add("neighbour", 8 * MiB, 8 * MiB);
    presser_ = add("presser", 40 * MiB, 0);
    fill_guest(guest_, 1);
    fill_guest(neighbour_, 2);
  }
  // All that was taken was told, by swap and by balloon: what is left of it at the end of its guest.
  void TearDown() override {
    if (!host_) return;
    struct Counted {
      std::string name;
      Reclaimed reclaimed;
    };
    std::vector<Counted> counted;
    for (auto* guest : told_) {
      if (!*guest) continue;
      counted.push_back({guest->stats()->name, counted_of(*guest)});
      *guest = Guest();
    }
    EXPECT_TRUE(eventually([&] {
      const auto all = events();
      return std::all_of(counted.begin(), counted.end(), [&](const Counted& c) {
        const auto told = told_of(all, c.name);
        return told.swap >= c.reclaimed.swap && told.balloon >= c.reclaimed.balloon;
      });
    })) << "reclaim that was not told";
    EXPECT_EQ(wrong_in_reclaim(events()), "");
  }
  // What drivers use are members: they are called until their guest ends, and a call is not waited for.
  ~BalloonHazards() override {
    hold_.release();
    if (host_) static_cast<void>(host_.on_event({}));
    guest_ = Guest();
    host_ = Host();
    EXPECT_TRUE(eventually([&] {
      return std::all_of(drivers_.begin(), drivers_.end(), [](const auto& d) { return d.expired(); });
    })) << "a driver is let go of";
  }

  Guest add(const std::string& name, std::uint64_t memory, std::uint64_t reservation) {
    auto o = guest_options(name, memory);
    o.large_pages = false;
    o.reservation = reservation;
    auto guest = host_.create_guest(o);
    EXPECT_TRUE(guest) << guest.error().message();
    return guest ? std::move(*guest) : Guest();
  }
  std::shared_ptr<Scripted> set(Scripted::Script script, std::atomic<bool>* gone = nullptr) {
    auto driver = std::make_shared<Scripted>(std::move(script), gone);
    drivers_.push_back(driver);
    const auto r = guest_.set_balloon(driver);
    EXPECT_TRUE(r) << r.error().message();
    return driver;
  }
  bool told_of_distrust(const std::string& reason) {
    return eventually([&] {
      const std::lock_guard lock(mutex_);
      return std::any_of(events_.begin(), events_.end(), [&](const Event& e) {
        return e.kind == EventKind::balloon_distrusted && e.guest == "ballooned" &&
               e.reason.find(reason) != std::string::npos;
      });
    }, std::chrono::seconds(20));
  }
  std::vector<Event> events() {
    const std::lock_guard lock(mutex_);
    return events_;
  }
  // 16 MiB more than there is are wanted and had.
  void press() { fill_guest(presser_, 3); }
  // The driver hangs when this returns, and would give some pages.
  void hang() {
    set([this](std::uint64_t) {
      hold_.wait();
      return Ranges{range(kUsed, 100), {~std::uint64_t{0}, 4096}};
    }, &gone_);
    press();
    EXPECT_TRUE(eventually([&] { return hold_.inside.load(); }));
  }
  // Whoever misbehaves: memory is free in the end, and the others have what they had.
  void expect_nobody_else_harmed() {
    EXPECT_TRUE(eventually([&] { return host_.stats()->state == MemoryState::high; }));
    EXPECT_EQ(neighbour_.stats()->swapped_out, 0u) << "all of it is reserved";
    EXPECT_EQ(neighbour_.stats()->resident, 8 * MiB) << "in place, or in staging to be sampled";
    EXPECT_EQ(neighbour_.stats()->stalls, 0u) << "none of its faults has waited for memory";
    EXPECT_EQ(neighbour_.stats()->stops, 0u);
    EXPECT_EQ(wrong_in(neighbour_, 2), "");
    EXPECT_EQ(wrong_in(presser_, 3), "");
  }
  std::string wrong_in_use(std::uint64_t first = 0, std::uint64_t end = kUsed) {
    std::string text;
    for (auto page = first; page < end && text.empty(); ++page) text = wrong_page(page_at(guest_, page), 1, page, 1);
    return text;
  }

  const TempDirectory directory_;
  Host host_;
  std::mutex mutex_;
  std::vector<Event> events_;
  std::vector<std::weak_ptr<Scripted>> drivers_;
  Guest guest_, neighbour_, presser_, victim_;
  std::vector<Guest*> told_{&guest_, &neighbour_, &presser_};  // whose reclaim is compared with what was told
  Hold hold_;
  std::atomic<bool> gone_{false}, ended_{false};
  std::atomic<int> calls_{0};
  std::vector<std::string> errors_;
  Result<void> replaced_;
};
}  // namespace vmm::test
