// The Nth allocation of a program in C fails, once and for good: each call succeeds or says -ENOMEM, stores nothing
// then, and nothing is left behind.
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "fault/allocation_hook.h"
#include "support/eventually.h"
#include "support/process_state.h"
#include "support/temp_directory.h"
#include "vmm/c.h"

namespace vmm::test {
namespace {

struct Outcome {
  int refused = 0;
  std::string unclean;  // another error than -ENOMEM
};

class Program {
 public:
  explicit Program(const std::string& directory) : directory_(directory) {}

  Outcome run() {
    enter_api();
    with_host();
    leave_api();
    // With its guest, at the latest.
    if (!eventually([&] { return released_ >= given_; }) || released_ != given_)
      outcome_.unclean = std::to_string(given_) + " drivers taken, " + std::to_string(released_) + " released";
    return outcome_;
  }

 private:
  bool good(const char* what, int status) {
    if (status == 0) return true;
    ++outcome_.refused;
    if (status != -ENOMEM) outcome_.unclean = std::string(what) + ": " + vmm_last_error();
    return false;
  }

  template <class Handle>
  bool made(const char* what, int status, const Handle* handle) {
    if ((status == 0) != (handle != nullptr)) outcome_.unclean = std::string(what) + ": status and handle differ";
    return good(what, status);
  }

  void with_host() {
    vmm_host_options o;
    good("init", vmm_host_options_init(&o, sizeof(o)));
    o.memory = UINT64_C(32) << 20;
    o.management = VMM_MANAGEMENT_AT_CREATION;
    o.swap_directory = directory_.c_str();
    vmm_host* host = nullptr;
    const int status = vmm_host_create(&o, &host);
    if (!made("host", status, host)) return;
    with_guest(host);
    vmm_host_destroy(host);
  }

  void with_guest(vmm_host* host) {
    vmm_guest_options o;
    good("init", vmm_guest_options_init(&o, sizeof(o)));
    o.name = "a guest whose name is no short string";
    o.memory = UINT64_C(1) << 20;
    vmm_guest* guest = nullptr;
    const int status = vmm_guest_create(host, &o, &guest);
    if (!made("guest", status, guest)) return;
    std::memset(vmm_guest_memory(guest, nullptr), 1, o.memory);
    verbs(host, guest);
    vmm_guest_destroy(guest);
  }

  void verbs(vmm_host* host, vmm_guest* guest) {
    vmm_pin* pin = nullptr;
    int status = vmm_guest_pin(guest, 0, VMM_PAGE_SIZE, &pin);
    made("pin", status, pin);
    vmm_pin_release(pin);
    vmm_seat* seat = nullptr;
    status = vmm_guest_attach_current_thread(guest, VMM_ATTACH_MEASURE_ONLY, &seat);
    made("seat", status, seat);
    vmm_seat_release(seat);
    vmm_guest_stats stats{};
    stats.size = sizeof(stats);
    good("stats", vmm_guest_get_stats(guest, &stats));
    char* text = nullptr;
    status = vmm_host_stats_json(host, &text);
    made("json", status, text);
    vmm_free(text);
    good("events", vmm_host_read_events(
                       host, 0, [](const vmm_event*, void*) {}, nullptr, nullptr, nullptr));
    vmm_capabilities* capabilities = nullptr;
    status = vmm_host_capabilities(host, &capabilities);
    made("capabilities", status, capabilities);
    vmm_capabilities_free(capabilities);
    vmm_balloon_driver driver;
    good("init", vmm_balloon_driver_init(&driver, sizeof(driver)));
    driver.context = this;
    driver.inflate = [](void*, uint64_t, vmm_balloon_answer*) {};
    driver.release = [](void* program) { ++static_cast<Program*>(program)->released_; };
    if (good("balloon", vmm_guest_set_balloon(guest, &driver))) ++given_;
  }

  const std::string directory_;
  Outcome outcome_;
  int given_ = 0;  // drivers that the host has taken
  std::atomic<int> released_{0};
};

TEST(Hazard28_C, CallsSucceedOrSayThatThereIsNoMemory) {
  const TempDirectory directory;
  ASSERT_EQ(Program(directory.path()).run().refused, 0) << vmm_last_error();
  const auto descriptors = open_descriptors();
  for (const bool for_good : {false, true}) {
    bool hit = true;
    int refused = 0;
    for (std::uint64_t n = 1; hit; n += n < 64 ? 1 : n / 32) {
      SCOPED_TRACE("allocation " + std::to_string(n) + (for_good ? " and all after it fail" : " fails"));
      Outcome outcome;
      {
        const AllocationHook hook(Who::caller, n, for_good);
        outcome = Program(directory.path()).run();
        hit = hook.hit();
      }
      refused += outcome.refused;
      ASSERT_EQ(outcome.unclean, "");
      ASSERT_EQ(open_descriptors(), descriptors);
      ASSERT_TRUE(library_threads_gone());
      ASSERT_TRUE(directory.entries().empty());
    }
    EXPECT_GT(refused, 0);
  }
}

}  // namespace
}  // namespace vmm::test
