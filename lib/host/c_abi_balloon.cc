// The C interface: a BalloonDriver made of callbacks.
#include <memory>
#include <utility>

#include "host/c_abi.h"
#include "vmm/balloon.h"

namespace c = vmm::host::c;

namespace {

class CallbackDriver final : public vmm::BalloonDriver {
 public:
  explicit CallbackDriver(const vmm_balloon_driver& driver) noexcept : driver_(driver) {}
  CallbackDriver(const CallbackDriver&) = delete;
  CallbackDriver& operator=(const CallbackDriver&) = delete;
  ~CallbackDriver() override {
    if (driver_.release != nullptr) driver_.release(driver_.context);
  }

  std::vector<vmm::BalloonRange> inflate(std::uint64_t bytes) override {
    vmm_balloon_answer answer;
    driver_.inflate(driver_.context, bytes, &answer);
    return std::move(answer.ranges);
  }

  void deflate(const std::vector<vmm::BalloonRange>& ranges) override {
    if (driver_.deflate == nullptr) return;
    std::vector<vmm_balloon_range> told;
    told.reserve(ranges.size());
    for (const auto& range : ranges) told.push_back({range.offset, range.bytes});
    driver_.deflate(driver_.context, told.data(), told.size());
  }

  // The host never had it: nobody is told of its end. Not while it may be called.
  void forget_release() noexcept { driver_.release = nullptr; }

 private:
  vmm_balloon_driver driver_;
};

}  // namespace

int vmm_balloon_driver_init(vmm_balloon_driver* driver, size_t size) noexcept {
  return c::init("vmm_balloon_driver", driver, size, vmm_balloon_driver{});
}

int vmm_balloon_give(vmm_balloon_answer* answer, uint64_t offset, uint64_t bytes) noexcept {
  if (answer == nullptr) return c::no_pointer("vmm_balloon_give", "answer");
  return c::guarded("vmm_balloon_give", [&] {
    answer->ranges.push_back({offset, bytes});
    return 0;
  });
}

int vmm_guest_set_balloon(vmm_guest* guest, const vmm_balloon_driver* driver) noexcept {
  if (guest == nullptr) return c::no_handle("vmm_guest_set_balloon");
  return c::guarded("vmm_guest_set_balloon", [&] {
    if (driver == nullptr) return c::done(guest->value.set_balloon(nullptr));
    vmm_balloon_driver own{};
    if (const int r = c::take("vmm_balloon_driver", driver, own); r != 0) return r;
    if (own.inflate == nullptr) return c::no_pointer("vmm_guest_set_balloon", "inflate");
    const auto made = std::make_shared<CallbackDriver>(own);
    const auto set = guest->value.set_balloon(made);
    if (!set) made->forget_release();
    return c::done(set);
  });
}
