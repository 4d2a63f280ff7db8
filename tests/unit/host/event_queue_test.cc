#include "host/event_queue.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace vmm::host {
namespace {

Event named(const std::string& guest) {
  Event e;
  e.guest = guest;
  return e;
}

TEST(EventQueue, EventsWaitForACallbackAndComeInOrder) {
  EventQueue queue;
  queue.push(named("a"));
  queue.deliver();
  queue.push(named("b"));
  std::vector<std::string> seen;
  queue.set_callback([&](const Event& e) { seen.push_back(e.guest); });
  queue.deliver();
  EXPECT_EQ(seen, (std::vector<std::string>{"a", "b"}));
}

TEST(EventQueue, WhoNeverListensLosesTheOldest) {
  EventQueue queue;
  for (int i = 0; i < 5000; ++i) queue.push(named(std::to_string(i)));
  std::vector<std::string> seen;
  queue.set_callback([&](const Event& e) { seen.push_back(e.guest); });
  queue.deliver();
  ASSERT_EQ(seen.size(), 4096u);
  EXPECT_EQ(seen.front(), "904");
  EXPECT_EQ(seen.back(), "4999");
}

// A slow callback with thousands of events behind it does not keep its host from ending.
TEST(EventQueue, StopDoesNotWaitForTheBacklog) {
  EventQueue queue;
  int seen = 0;
  queue.set_callback([&](const Event&) {
    ++seen;
    queue.stop();
  });
  for (int i = 0; i < 100; ++i) queue.push(named("x"));
  queue.run();
  EXPECT_EQ(seen, 1);
}

TEST(EventQueue, ACallbackWithoutMemoryCostsItsOwnEventOnly) {
  EventQueue queue;
  int seen = 0;
  queue.set_callback([&](const Event&) {
    if (++seen == 1) throw std::bad_alloc();
    queue.stop();
  });
  queue.push(named("a"));
  queue.push(named("b"));
  queue.run();
  EXPECT_EQ(seen, 2);
}

}  // namespace
}  // namespace vmm::host
