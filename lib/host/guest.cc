// The public handles Guest and Pin: checks for an empty handle, then the core.
#include "vmm/guest.h"

#include <utility>

#include "base/error.h"
#include "host/guest_core.h"
#include "host/guarded.h"
#include "host/host_core.h"

namespace vmm {
namespace {

tl::unexpected<Error> inert(const char* verb) {
  return base::fail(Errc::inert_handle, verb, "the handle is empty or was moved from");
}

}  // namespace

Pin::Pin() noexcept = default;
Pin::Pin(std::shared_ptr<GuestCore> guest, std::uint64_t first_page, std::uint64_t pages) noexcept
    : guest_(std::move(guest)), first_page_(first_page), pages_(pages) {}
Pin::Pin(Pin&& other) noexcept
    : guest_(std::exchange(other.guest_, nullptr)), first_page_(other.first_page_), pages_(other.pages_) {}
Pin& Pin::operator=(Pin&& other) noexcept {
  if (this != &other) {
    release();
    guest_ = std::exchange(other.guest_, nullptr);
    first_page_ = other.first_page_;
    pages_ = other.pages_;
  }
  return *this;
}
Pin::~Pin() { release(); }

void Pin::release() noexcept {
  if (guest_ == nullptr) return;
  guest_->unpin(first_page_, pages_);
  guest_ = nullptr;
}

Guest::Guest() noexcept = default;
Guest::Guest(std::shared_ptr<GuestCore> core) noexcept : core_(std::move(core)) {}
Guest::Guest(Guest&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
Guest& Guest::operator=(Guest&& other) noexcept {
  if (this != &other) {
    Guest old(std::move(*this));
    core_ = std::exchange(other.core_, nullptr);
  }
  return *this;
}

Guest::~Guest() {
  if (core_ == nullptr) return;
  if (core_->host().in_child()) {
    host::abandon(core_);
    return;
  }
  core_->host().end_guest(*core_);
}

std::span<std::byte> Guest::memory() const noexcept {
  return core_ == nullptr ? std::span<std::byte>() : core_->span();
}

Result<Seat> Guest::attach_current_thread(Attach mode) {
  if (core_ == nullptr) return inert("attach_current_thread");
  return host::guarded("attach_current_thread", [&] { return core_->attach(mode); });
}

Result<Pin> Guest::pin(std::uint64_t offset, std::uint64_t bytes) {
  if (core_ == nullptr) return inert("pin");
  return host::guarded("pin", [&] { return core_->pin(offset, bytes); });
}

Result<void> Guest::discard(std::uint64_t offset, std::uint64_t bytes) {
  if (core_ == nullptr) return inert("discard");
  return host::guarded("discard", [&] { return core_->discard(offset, bytes); });
}

Result<std::uint64_t> Guest::reclaim(std::uint64_t bytes) {
  if (core_ == nullptr) return inert("reclaim");
  return host::guarded("reclaim", [&] { return core_->reclaim(bytes); });
}

Result<std::uint64_t> Guest::restore() {
  if (core_ == nullptr) return inert("restore");
  return host::guarded("restore", [&] { return core_->restore(); });
}

Result<void> Guest::prefetch(std::uint64_t offset, std::uint64_t bytes) {
  if (core_ == nullptr) return inert("prefetch");
  return host::guarded("prefetch", [&] { return core_->prefetch(offset, bytes); });
}

Result<void> Guest::set_balloon(std::shared_ptr<BalloonDriver> driver) {
  if (core_ == nullptr) return inert("set_balloon");
  return host::guarded("set_balloon", [&] { return core_->set_balloon(std::move(driver)); });
}

Result<void> Guest::configure(const GuestChange& change) {
  if (core_ == nullptr) return inert("configure");
  return host::guarded("configure", [&] { return core_->configure(change); });
}

Result<void> Guest::rehome(int node) {
  if (core_ == nullptr) return inert("rehome");
  return host::guarded("rehome", [&] { return core_->rehome(node); });
}

Result<GuestStats> Guest::stats() const {
  if (core_ == nullptr) return inert("stats");
  return host::guarded("stats", [&] { return core_->stats(); });
}

}  // namespace vmm
