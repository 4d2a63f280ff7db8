// The C interface: hosts, their pools, and sharing.
#include <chrono>

#include "host/c_abi.h"

namespace c = vmm::host::c;

int vmm_host_create(const vmm_host_options* options, vmm_host** host) noexcept {
  if (host == nullptr) return c::no_pointer("vmm_host_create", "host");
  return c::guarded("vmm_host_create", [&] {
    auto own = c::default_host_options();
    if (options != nullptr)
      if (const int r = c::take("vmm_host_options", options, own); r != 0) return r;
    const auto o = c::to_options(own);
    return o ? c::hand_out(vmm::Host::create(*o), host) : c::fail(o.error());
  });
}

void vmm_host_destroy(vmm_host* host) noexcept { delete host; }

int vmm_host_configure(vmm_host* host, const vmm_host_change* change) noexcept {
  if (host == nullptr) return c::no_handle("vmm_host_configure");
  return c::guarded("vmm_host_configure", [&] {
    vmm_host_change own{};
    if (const int r = c::take("vmm_host_change", change, own); r != 0) return r;
    const auto o = c::to_change(own);
    return o ? c::done(host->value.configure(*o)) : c::fail(o.error());
  });
}

int vmm_host_tick(vmm_host* host, int64_t now_ns) noexcept {
  if (host == nullptr) return c::no_handle("vmm_host_tick");
  return c::guarded("vmm_host_tick", [&] { return c::done(host->value.tick(std::chrono::nanoseconds(now_ns))); });
}

int vmm_host_create_pool(vmm_host* host, const char* path, const vmm_pool_options* options) noexcept {
  if (host == nullptr) return c::no_handle("vmm_host_create_pool");
  return c::guarded("vmm_host_create_pool", [&] {
    auto own = c::default_pool_options();
    if (options != nullptr)
      if (const int r = c::take("vmm_pool_options", options, own); r != 0) return r;
    const auto o = c::to_options(own);
    return o ? c::done(host->value.create_pool(c::text_of(path), *o)) : c::fail(o.error());
  });
}

int vmm_host_configure_pool(vmm_host* host, const char* path, const vmm_pool_change* change) noexcept {
  if (host == nullptr) return c::no_handle("vmm_host_configure_pool");
  return c::guarded("vmm_host_configure_pool", [&] {
    vmm_pool_change own{};
    if (const int r = c::take("vmm_pool_change", change, own); r != 0) return r;
    const auto o = c::to_change(own);
    return o ? c::done(host->value.configure_pool(c::text_of(path), *o)) : c::fail(o.error());
  });
}

int vmm_host_remove_pool(vmm_host* host, const char* path) noexcept {
  if (host == nullptr) return c::no_handle("vmm_host_remove_pool");
  return c::guarded("vmm_host_remove_pool", [&] { return c::done(host->value.remove_pool(c::text_of(path))); });
}

int vmm_host_share_now(vmm_host* host, vmm_share_report* report) noexcept {
  if (host == nullptr) return c::no_handle("vmm_host_share_now");
  if (report != nullptr)
    if (const int r = c::check_room("vmm_share_report", report); r != 0) return r;
  return c::guarded("vmm_host_share_now", [&] {
    const auto done = host->value.share_now();
    if (!done) return c::fail(done.error());
    if (report != nullptr)
      c::store(vmm_share_report{sizeof(vmm_share_report), done->scanned, done->shared, done->zero, done->broken,
                                done->saved, done->cpu_ns},
               report);
    return 0;
  });
}

int vmm_host_estimate_sharing(vmm_host* host, vmm_share_estimate* estimate) noexcept {
  if (host == nullptr) return c::no_handle("vmm_host_estimate_sharing");
  if (const int r = c::check_room("vmm_share_estimate", estimate); r != 0) return r;
  return c::guarded("vmm_host_estimate_sharing", [&] {
    const auto found = host->value.estimate_sharing();
    if (!found) return c::fail(found.error());
    c::store(vmm_share_estimate{sizeof(vmm_share_estimate), found->looked, found->zero, found->saved,
                                found->saved_in_one_group},
             estimate);
    return 0;
  });
}
