// HostRig: a small host whose scheduler moves only when the test says so, with guests and the events so far.
// Thread-safety: one thread, but for accesses to the guests' memory.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "stress/peek.h"
#include "support/eventually.h"
#include "support/pattern.h"
#include "support/reclaim_events.h"
#include "support/temp_directory.h"
#include "support/way.h"
#include "vmm/vmm.h"

namespace vmm::test {

class HostRig {
 public:
  explicit HostRig(const Way& way, void (*adjust)(HostOptions&) = nullptr) {
    HostOptions o;
    o.memory = 128 * MiB;
    o.swap_directory = directory_.path();
    o.isolation = way.isolation;
    o.swap_io = way.swap_io;
    o.scheduler = Scheduler::manual;
    o.management = Management::at_creation;
    o.swap_retry_timeout = std::chrono::milliseconds(0);
    if (adjust != nullptr) adjust(o);
    auto host = Host::create(o);
    EXPECT_TRUE(host) << host.error().message();
    if (host) host_ = std::move(*host);
    host_.on_event([this](const Event& e) { events_.push_back(e); });
  }
  ~HostRig() {
    host_.on_event({});
    EXPECT_EQ(wrong_in_reclaim(events_), "");
  }

  Guest add(const std::string& name, std::uint64_t pages, bool large_pages = false) {
    GuestOptions o;
    o.name = name;
    o.memory = pages * kPageSize;
    o.large_pages = large_pages;
    auto guest = host_.create_guest(o);
    EXPECT_TRUE(guest) << guest.error().message();
    return guest ? std::move(*guest) : Guest();
  }

  // Lets the scheduler look, `later` after its last look. Events are delivered.
  void tick(std::chrono::nanoseconds later = std::chrono::milliseconds(1)) {
    now_ = std::max<std::chrono::nanoseconds>(now_, std::chrono::steady_clock::now().time_since_epoch()) + later;
    const auto r = host_.tick(now_);
    EXPECT_TRUE(r) << r.error().message();
  }

  // Takes everything out of the guest that can be taken. Returns the bytes.
  static std::uint64_t reclaim_all(Guest& guest) {
    std::uint64_t freed = 0;
    for (std::uint64_t now = 1; now > 0; freed += now) {
      const auto r = guest.reclaim(guest.memory().size());
      EXPECT_TRUE(r) << r.error().message();
      now = r ? *r : 0;
    }
    return freed;
  }

  // Reclaims until no more than that is resident: pages that are being read, or that a device holds a moment longer,
  // leave when they can. False if they never do.
  static bool reclaim_down_to(Guest& guest, std::uint64_t pages) {
    return eventually([&] {
      reclaim_all(guest);
      return guest.stats()->resident <= pages * kPageSize;
    });
  }

  const std::vector<Event>& events() const { return events_; }
  // The events of that kind.
  std::vector<Event> events(EventKind kind) const {
    std::vector<Event> some;
    for (const auto& e : events_)
      if (e.kind == kind) some.push_back(e);
    return some;
  }
  Host& host() { return host_; }
  void end() { host_ = Host(); }

 private:
  TempDirectory directory_;
  std::vector<Event> events_;
  std::chrono::nanoseconds now_ = std::chrono::steady_clock::now().time_since_epoch();
  Host host_;
};

inline std::byte* page_at(const Guest& guest, std::uint64_t page) { return guest.memory().data() + page * kPageSize; }

// Patterns of a whole guest; `id` is what the test calls it.
inline void fill_guest(const Guest& guest, std::uint64_t id, std::uint64_t version = 1) {
  const auto memory = guest.memory();
  for (std::uint64_t page = 0; page < memory.size() / kPageSize; ++page)
    fill_page(memory.data() + page * kPageSize, id, page, version);
}
// What is wrong, the first five pages of it; empty: nothing.
inline std::string wrong_in(const Guest& guest, std::uint64_t id, std::uint64_t version = 1) {
  const auto memory = guest.memory();
  std::string text;
  int found = 0;
  for (std::uint64_t page = 0; page < memory.size() / kPageSize && found < 5; ++page) {
    const auto w = wrong_page(memory.data() + page * kPageSize, id, page, version);
    if (w.empty()) continue;
    text += "page " + std::to_string(page) + ": " + w + "\n";
    ++found;
  }
  return text;
}

}  // namespace vmm::test
