#include "support/call_hook.h"

#include <sys/prctl.h>

#include <array>
#include <atomic>
#include <cstring>

namespace vmm::test {
namespace {

constexpr std::size_t kCalls = static_cast<std::size_t>(os::Call::kCount);

class Hook final : public os::Interceptor {
 public:
  struct Rule {
    std::atomic<std::uint64_t> count{0};
    std::atomic<std::uint64_t> failures{0};  // still to come
    std::atomic<int> error{0};
    std::array<char, 16> thread{};
  };

  int before(os::Call call) noexcept override {
    auto& rule = rules[static_cast<std::size_t>(call)];
    rule.count.fetch_add(1, std::memory_order_relaxed);
    if (static_cast<int>(call) == held_call.load(std::memory_order_acquire) && named(held_thread)) {
      held.fetch_add(1, std::memory_order_acq_rel);
      held_call.wait(static_cast<int>(call), std::memory_order_acquire);
      held.fetch_sub(1, std::memory_order_acq_rel);
    }
    auto left = rule.failures.load(std::memory_order_acquire);
    while (left > 0) {
      if (!named(rule.thread)) return 0;
      if (left == CallHook::kAlways ||
          rule.failures.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel))
        return rule.error.load(std::memory_order_relaxed);
    }
    return 0;
  }

  static bool named(const std::array<char, 16>& prefix) noexcept {
    if (prefix[0] == 0) return true;
    std::array<char, 17> name{};
    ::prctl(PR_GET_NAME, name.data());
    return std::strncmp(name.data(), prefix.data(), std::strlen(prefix.data())) == 0;
  }

  std::array<Rule, kCalls> rules;
  std::atomic<int> held_call{-1};
  std::array<char, 16> held_thread{};
  std::atomic<int> held{0};
};

Hook& hook() {
  static Hook instance;
  return instance;
}

}  // namespace

CallHook::CallHook() {
  for (auto& rule : hook().rules) {
    rule.count.store(0);
    rule.failures.store(0);
  }
  os::set_interceptor(&hook());
}

CallHook::~CallHook() {
  release();
  os::set_interceptor(nullptr);
}

void CallHook::fail(os::Call call, int error, std::uint64_t times, const std::string& thread) {
  auto& rule = hook().rules[static_cast<std::size_t>(call)];
  rule.failures.store(0, std::memory_order_release);
  rule.error.store(error, std::memory_order_relaxed);
  rule.thread = {};
  std::strncpy(rule.thread.data(), thread.c_str(), rule.thread.size() - 1);
  rule.failures.store(times, std::memory_order_release);
}

std::uint64_t CallHook::count(os::Call call) const noexcept {
  return hook().rules[static_cast<std::size_t>(call)].count.load(std::memory_order_relaxed);
}

void CallHook::hold(os::Call call, const std::string& thread) {
  hook().held_thread = {};
  std::strncpy(hook().held_thread.data(), thread.c_str(), hook().held_thread.size() - 1);
  hook().held_call.store(static_cast<int>(call), std::memory_order_release);
}

int CallHook::held() const noexcept { return hook().held.load(std::memory_order_acquire); }

void CallHook::release() noexcept {
  hook().held_call.store(-1, std::memory_order_release);
  hook().held_call.notify_all();
}

}  // namespace vmm::test
