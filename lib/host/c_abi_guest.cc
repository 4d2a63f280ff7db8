// The C interface: guests, pins and seats.
#include "host/c_abi.h"

namespace c = vmm::host::c;

static_assert(static_cast<int>(vmm::Attach::bind) == VMM_ATTACH_BIND &&
              static_cast<int>(vmm::Attach::measure_only) == VMM_ATTACH_MEASURE_ONLY);

namespace {

// What a verb has moved, to where the caller wants it.
int tell(const vmm::Result<std::uint64_t>& bytes, uint64_t* out) noexcept {
  if (!bytes) return c::fail(bytes.error());
  if (out != nullptr) *out = *bytes;
  return 0;
}

}  // namespace

int vmm_guest_create(vmm_host* host, const vmm_guest_options* options, vmm_guest** guest) noexcept {
  if (host == nullptr) return c::no_handle("vmm_guest_create");
  if (guest == nullptr) return c::no_pointer("vmm_guest_create", "guest");
  return c::guarded("vmm_guest_create", [&] {
    auto own = c::default_guest_options();
    if (const int r = c::take("vmm_guest_options", options, own); r != 0) return r;
    const auto o = c::to_options(own);
    return o ? c::hand_out(host->value.create_guest(*o), guest) : c::fail(o.error());
  });
}

void vmm_guest_destroy(vmm_guest* guest) noexcept { delete guest; }

void* vmm_guest_memory(const vmm_guest* guest, uint64_t* bytes) noexcept {
  const auto memory = guest == nullptr ? std::span<std::byte>() : guest->value.memory();
  if (bytes != nullptr) *bytes = memory.size();
  return memory.empty() ? nullptr : memory.data();
}

int vmm_guest_configure(vmm_guest* guest, const vmm_guest_change* change) noexcept {
  if (guest == nullptr) return c::no_handle("vmm_guest_configure");
  return c::guarded("vmm_guest_configure", [&] {
    vmm_guest_change own{};
    if (const int r = c::take("vmm_guest_change", change, own); r != 0) return r;
    const auto o = c::to_change(own);
    return o ? c::done(guest->value.configure(*o)) : c::fail(o.error());
  });
}

int vmm_guest_discard(vmm_guest* guest, uint64_t offset, uint64_t bytes) noexcept {
  if (guest == nullptr) return c::no_handle("vmm_guest_discard");
  return c::guarded("vmm_guest_discard", [&] { return c::done(guest->value.discard(offset, bytes)); });
}

int vmm_guest_prefetch(vmm_guest* guest, uint64_t offset, uint64_t bytes) noexcept {
  if (guest == nullptr) return c::no_handle("vmm_guest_prefetch");
  return c::guarded("vmm_guest_prefetch", [&] { return c::done(guest->value.prefetch(offset, bytes)); });
}

int vmm_guest_reclaim(vmm_guest* guest, uint64_t bytes, uint64_t* freed) noexcept {
  if (guest == nullptr) return c::no_handle("vmm_guest_reclaim");
  return c::guarded("vmm_guest_reclaim", [&] { return tell(guest->value.reclaim(bytes), freed); });
}

int vmm_guest_restore(vmm_guest* guest, uint64_t* restored) noexcept {
  if (guest == nullptr) return c::no_handle("vmm_guest_restore");
  return c::guarded("vmm_guest_restore", [&] { return tell(guest->value.restore(), restored); });
}

int vmm_guest_rehome(vmm_guest* guest, int node) noexcept {
  if (guest == nullptr) return c::no_handle("vmm_guest_rehome");
  return c::guarded("vmm_guest_rehome", [&] { return c::done(guest->value.rehome(node)); });
}

int vmm_guest_pin(vmm_guest* guest, uint64_t offset, uint64_t bytes, vmm_pin** pin) noexcept {
  if (guest == nullptr) return c::no_handle("vmm_guest_pin");
  if (pin == nullptr) return c::no_pointer("vmm_guest_pin", "pin");
  return c::guarded("vmm_guest_pin", [&] { return c::hand_out(guest->value.pin(offset, bytes), pin); });
}

void vmm_pin_release(vmm_pin* pin) noexcept { delete pin; }

int vmm_guest_attach_current_thread(vmm_guest* guest, int mode, vmm_seat** seat) noexcept {
  if (guest == nullptr) return c::no_handle("vmm_guest_attach_current_thread");
  if (seat == nullptr) return c::no_pointer("vmm_guest_attach_current_thread", "seat");
  if (mode != VMM_ATTACH_BIND && mode != VMM_ATTACH_MEASURE_ONLY)
    return c::fail(EINVAL, "vmm_guest_attach_current_thread: mode", "give VMM_ATTACH_BIND or VMM_ATTACH_MEASURE_ONLY");
  return c::guarded("vmm_guest_attach_current_thread", [&] {
    return c::hand_out(guest->value.attach_current_thread(static_cast<vmm::Attach>(mode)), seat);
  });
}

void vmm_seat_release(vmm_seat* seat) noexcept { delete seat; }
