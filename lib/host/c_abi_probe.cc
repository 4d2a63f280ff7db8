// The C interface: what the kernel and the process allow.
#include "host/c_abi.h"

namespace c = vmm::host::c;

namespace {

using c::same;
using vmm::CapabilityLevel;
using vmm::CapabilityState;

static_assert(same(CapabilityLevel::full, VMM_LEVEL_FULL) && same(CapabilityLevel::baseline, VMM_LEVEL_BASELINE) &&
              same(CapabilityLevel::user_mode, VMM_LEVEL_USER_MODE) && same(CapabilityLevel::none, VMM_LEVEL_NONE));
static_assert(same(CapabilityState::available, VMM_CAPABILITY_AVAILABLE) &&
              same(CapabilityState::limited, VMM_CAPABILITY_LIMITED) &&
              same(CapabilityState::missing, VMM_CAPABILITY_MISSING));

}  // namespace

int vmm_probe(const char* swap_directory, vmm_capabilities** capabilities) noexcept {
  if (capabilities == nullptr) return c::no_pointer("vmm_probe", "capabilities");
  return c::guarded("vmm_probe", [&] {
    *capabilities = new vmm_capabilities{vmm::probe(c::text_of(swap_directory))};
    return 0;
  });
}

int vmm_host_capabilities(const vmm_host* host, vmm_capabilities** capabilities) noexcept {
  if (host == nullptr) return c::no_handle("vmm_host_capabilities");
  if (capabilities == nullptr) return c::no_pointer("vmm_host_capabilities", "capabilities");
  return c::guarded("vmm_host_capabilities", [&] {
    *capabilities = new vmm_capabilities{host->value.capabilities()};
    return 0;
  });
}

void vmm_capabilities_free(vmm_capabilities* capabilities) noexcept { delete capabilities; }

int vmm_capabilities_level(const vmm_capabilities* capabilities) noexcept {
  return capabilities == nullptr ? VMM_LEVEL_NONE : static_cast<int>(capabilities->value.level);
}

const char* vmm_level_name(int level) noexcept { return vmm::to_string(static_cast<CapabilityLevel>(level)); }

size_t vmm_capabilities_count(const vmm_capabilities* capabilities) noexcept {
  return capabilities == nullptr ? 0 : capabilities->value.items.size();
}

int vmm_capabilities_get(const vmm_capabilities* capabilities, size_t index, vmm_capability* item) noexcept {
  if (capabilities == nullptr) return c::no_handle("vmm_capabilities_get");
  if (const int r = c::check_room("vmm_capability", item); r != 0) return r;
  const auto& items = capabilities->value.items;
  if (index >= items.size())
    return c::fail(ERANGE, "vmm_capabilities_get: index", "give less than vmm_capabilities_count()");
  const auto& found = items[index];
  vmm_capability out{};
  out.name = found.name.c_str();
  out.detail = found.detail.c_str();
  out.consequence = found.consequence.c_str();
  out.remedy = found.remedy.c_str();
  out.state = static_cast<int>(found.state);
  c::store(out, item);
  return 0;
}
