// The public handle Host: checks for an empty handle, then the core.
#include "vmm/host.h"

#include <cstddef>
#include <new>
#include <utility>

#include "base/error.h"
#include "host/guarded.h"
#include "host/host_core.h"

namespace vmm {
namespace {

tl::unexpected<Error> inert(const char* verb) {
  return base::fail(Errc::inert_handle, verb, "the handle is empty or was moved from");
}

}  // namespace

Result<Host> Host::create(const HostOptions& options) {
  return host::guarded("Host::create", [&]() -> Result<Host> {
    auto topology = topology::Topology::discover();
    if (!topology) return tl::unexpected(topology.error());
    auto core = HostCore::create(options, *topology);
    if (!core) return tl::unexpected(core.error());
    return Host(std::move(*core));
  });
}

Host::Host() noexcept = default;
Host::Host(std::shared_ptr<HostCore> core) noexcept : core_(std::move(core)) {}
Host::Host(Host&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
Host& Host::operator=(Host&& other) noexcept {
  if (this != &other) {
    Host old(std::move(*this));
    core_ = std::exchange(other.core_, nullptr);
  }
  return *this;
}

Host::~Host() {
  if (core_ == nullptr) return;
  if (core_->in_child()) {
    host::abandon(core_);
    return;
  }
  core_->shut_down();
}

Result<Guest> Host::create_guest(const GuestOptions& options) {
  if (core_ == nullptr) return inert("create_guest");
  return host::guarded("create_guest", [&]() -> Result<Guest> {
    auto guest = core_->create_guest(options);
    if (!guest) return tl::unexpected(guest.error());
    return Guest(std::move(*guest));
  });
}

Result<void> Host::create_pool(const std::string& path, const PoolOptions& options) {
  if (core_ == nullptr) return inert("create_pool");
  return host::guarded("create_pool", [&] { return core_->create_pool(path, options); });
}

Result<void> Host::configure_pool(const std::string& path, const PoolChange& change) {
  if (core_ == nullptr) return inert("configure_pool");
  return host::guarded("configure_pool", [&] { return core_->configure_pool(path, change); });
}

Result<void> Host::remove_pool(const std::string& path) {
  if (core_ == nullptr) return inert("remove_pool");
  return host::guarded("remove_pool", [&] { return core_->remove_pool(path); });
}

Result<void> Host::configure(const HostChange& change) {
  if (core_ == nullptr) return inert("configure");
  return host::guarded("configure", [&] { return core_->configure(change); });
}

Result<void> Host::on_event(std::function<void(const Event&)> callback) {
  if (core_ == nullptr) return inert("on_event");
  return host::guarded("on_event", [&] { return core_->set_callback(std::move(callback)); });
}

Result<void> Host::tick(std::chrono::nanoseconds now) {
  if (core_ == nullptr) return inert("tick");
  return host::guarded("tick", [&] { return core_->tick(now); });
}

Result<ShareReport> Host::share_now() {
  if (core_ == nullptr) return inert("share_now");
  return host::guarded("share_now", [&] { return core_->share_now(); });
}

Result<ShareEstimate> Host::estimate_sharing() {
  if (core_ == nullptr) return inert("estimate_sharing");
  return host::guarded("estimate_sharing", [&] { return core_->estimate_sharing(); });
}

Result<HostStats> Host::stats() const {
  if (core_ == nullptr) return inert("stats");
  return host::guarded("stats", [&] { return core_->stats(); });
}

Result<EventLedger> Host::events(std::uint64_t since) const {
  if (core_ == nullptr) return inert("events");
  return host::guarded("events", [&] { return core_->events(since); });
}

const Capabilities& Host::capabilities() const noexcept {
  // Never destroyed, as a handle in static storage may ask after all that is made later has been.
  alignas(Capabilities) static std::byte place[sizeof(Capabilities)];
  static const Capabilities* const none = new (place) Capabilities();
  return core_ == nullptr ? *none : core_->capabilities();
}

}  // namespace vmm
