#include "host/seat.h"

#include <utility>

#include "host/guest_core.h"
#include "host/host_core.h"
#include "os/affinity.h"

namespace vmm {

namespace host {
namespace {

// Marks the end of a thread, so that nobody touches a later thread that got its id.
struct TokenOwner {
  std::shared_ptr<ThreadToken> token = std::make_shared<ThreadToken>();
  ~TokenOwner() {
    base::MutexLock lock(token->mutex);
    token->alive = false;
  }
};

}  // namespace

std::shared_ptr<ThreadToken> current_thread_token() {
  thread_local TokenOwner owner;
  return owner.token;
}

}  // namespace host

void Seat::Impl::release() noexcept {
  if (guest == nullptr || guest->host().in_child()) return;
  {
    base::MutexLock lock(thread->mutex);
    if (!thread->seated) return;
    thread->seated = false;
    if (thread->alive && !old_affinity.empty()) static_cast<void>(os::set_thread_affinity(tid, old_affinity));
  }
  guest->leave(this);
}

std::uint64_t Seat::Impl::cpu_ns() const noexcept {
  base::MutexLock lock(thread->mutex);
  if (!thread->alive) return 0;
  const auto now = os::thread_cpu_ns(tid);
  return now && *now > cpu_at_attach ? *now - cpu_at_attach : 0;
}

Seat::Seat() noexcept = default;
Seat::Seat(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Seat::Seat(Seat&& other) noexcept : impl_(std::exchange(other.impl_, nullptr)) {}
Seat& Seat::operator=(Seat&& other) noexcept {
  if (this != &other) {
    release();
    impl_ = std::exchange(other.impl_, nullptr);
  }
  return *this;
}
Seat::~Seat() { release(); }

void Seat::release() noexcept {
  if (impl_ == nullptr) return;
  impl_->release();
  impl_ = nullptr;
}

}  // namespace vmm
