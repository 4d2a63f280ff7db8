#include "vmm/capabilities.h"

#include <algorithm>
#include <system_error>

#include "os/file.h"
#include "os/probe_parts.h"

namespace vmm {

const char* to_string(CapabilityLevel level) noexcept {
  switch (level) {
    case CapabilityLevel::full: return "full";
    case CapabilityLevel::baseline: return "baseline";
    case CapabilityLevel::user_mode: return "user_mode";
    case CapabilityLevel::none: return "none";
  }
  return "unknown level";
}

const char* to_string(CapabilityState state) noexcept {
  switch (state) {
    case CapabilityState::available: return "available";
    case CapabilityState::limited: return "limited";
    case CapabilityState::missing: return "missing";
  }
  return "unknown state";
}

const Capability* Capabilities::find(const std::string& name) const {
  const auto at = std::find_if(items.begin(), items.end(), [&](const Capability& c) { return c.name == name; });
  return at != items.end() ? &*at : nullptr;
}

bool Capabilities::has(const std::string& name) const {
  const Capability* item = find(name);
  return item != nullptr && item->state != CapabilityState::missing;
}

namespace os::probing {

std::string errno_text(int number) { return std::generic_category().message(number); }

std::string failure_text(const Error& error) { return error.operation + ": " + error.code.message(); }

std::string read_line(const std::string& path) {
  const auto text = read_small_file(path);
  if (!text) return {};
  return text->substr(0, text->find('\n'));
}

}  // namespace os::probing

namespace {

CapabilityLevel level_of(const Capabilities& caps) {
  if (!caps.has("userfaultfd") || !caps.has("uffd_write_protect")) return CapabilityLevel::none;
  if (caps.find("userfaultfd")->state == CapabilityState::limited) return CapabilityLevel::user_mode;
  const bool full = caps.has("uffdio_move") && caps.has("wp_async") && caps.has("pagemap_scan");
  return full ? CapabilityLevel::full : CapabilityLevel::baseline;
}

}  // namespace

Capabilities probe(const std::string& swap_directory) {
  Capabilities caps;
  os::probing::probe_userfaultfd(caps);
  os::probing::probe_memory(caps);
  os::probing::probe_machine(caps);
  os::probing::probe_limits(caps);
  os::probing::probe_storage(caps, swap_directory);
  caps.level = level_of(caps);
  return caps;
}

}  // namespace vmm
