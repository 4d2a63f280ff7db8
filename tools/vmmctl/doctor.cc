#include "doctor.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "text.h"

namespace vmmctl {
namespace {

using vmm::Capability;
using vmm::CapabilityLevel;
using vmm::CapabilityState;

// Without these no guest can be larger than what is reserved for it.
constexpr std::array kNeeded{"userfaultfd", "uffd_write_protect", "swap_directory"};

const char* explanation(CapabilityLevel level) {
  switch (level) {
    case CapabilityLevel::full:
      return "everything libvmm can use is there: pages are moved out of guests without a copy, and pages that devices "
             "use are recognised by the kernel";
    case CapabilityLevel::baseline:
      return "guests are reclaimed from by write-protection and copy: slower, and memory that devices write to must be "
             "announced by Guest::pin";
    case CapabilityLevel::user_mode:
      return "userfaultfd sees faults of the program itself only: system calls and KVM that meet a page which is not in "
             "memory fail with EFAULT";
    case CapabilityLevel::none:
      return "no page can be taken from a guest: guests run natively, and the budget cannot be overcommitted";
  }
  return "";
}

const char* colour_of(Severity severity) {
  switch (severity) {
    case Severity::ok: return "\033[32m";
    case Severity::advice: return "\033[33m";
    case Severity::problem: return "\033[1;31m";
  }
  return "";
}

std::string severity_word(Severity severity, bool colour) {
  std::string word = to_string(severity);
  word.resize(8, ' ');
  return colour ? colour_of(severity) + word + "\033[0m" : word;
}

}  // namespace

const char* to_string(Severity severity) {
  switch (severity) {
    case Severity::ok: return "ok";
    case Severity::advice: return "advice";
    case Severity::problem: return "problem";
  }
  return "";
}

Severity severity_of(const Capability& item) {
  if (item.state == CapabilityState::available) return Severity::ok;
  const bool needed = std::any_of(kNeeded.begin(), kNeeded.end(), [&](const char* name) { return item.name == name; });
  return needed && item.state == CapabilityState::missing ? Severity::problem : Severity::advice;
}

Severity severity_of(const vmm::Capabilities& capabilities) {
  Severity worst = capabilities.level == CapabilityLevel::none ? Severity::problem : Severity::ok;
  for (const Capability& item : capabilities.items) worst = std::max(worst, severity_of(item));
  return worst;
}

std::string doctor_text(const vmm::Capabilities& capabilities, const std::string& kernel, const DoctorStyle& style) {
  const Charset charset = terminal_charset();
  std::string text = "libvmm on " + printable(kernel, charset) + ": capability level " +
                     vmm::to_string(capabilities.level) + "\n" +
                     wrapped(explanation(capabilities.level), "  ", style.width) + "\n";
  std::array<std::size_t, 3> count{};
  constexpr std::size_t kNameWidth = 24;
  const std::string indent(2 + 8 + 1, ' ');
  for (const Capability& item : capabilities.items) {
    const Severity severity = severity_of(item);
    ++count[static_cast<std::size_t>(severity)];
    std::string name = printable(item.name, charset);
    name.resize(std::max(name.size(), kNameWidth), ' ');
    text += "  " + severity_word(severity, style.colour) + " " + name + printable(item.detail, charset) + "\n";
    if (severity == Severity::ok && !style.all) continue;
    text += wrapped(printable(item.consequence, charset), indent, style.width);
    text += wrapped((severity == Severity::ok ? "if it were not so: " : "remedy: ") + printable(item.remedy, charset),
                    indent, style.width);
  }
  text += "\n" + std::to_string(count[0]) + " ok, " + std::to_string(count[1]) + " advice, " +
          std::to_string(count[2]) + (count[2] == 1 ? " problem: " : " problems: ");
  switch (severity_of(capabilities)) {
    case Severity::ok: text += "guests can be overcommitted here.\n"; break;
    case Severity::advice: text += "guests can be overcommitted here; see the advice.\n"; break;
    case Severity::problem: text += "guests cannot be overcommitted before that is mended.\n"; break;
  }
  return text;
}

nlohmann::json doctor_json(const vmm::Capabilities& capabilities, const std::string& kernel) {
  nlohmann::json items = nlohmann::json::array();
  for (const Capability& item : capabilities.items)
    items.push_back({{"name", valid_utf8(item.name)},
                     {"severity", to_string(severity_of(item))},
                     {"state", vmm::to_string(item.state)},
                     {"detail", valid_utf8(item.detail)},
                     {"consequence", valid_utf8(item.consequence)},
                     {"remedy", valid_utf8(item.remedy)}});
  return {{"kernel", valid_utf8(kernel)},
          {"level", vmm::to_string(capabilities.level)},
          {"level_means", explanation(capabilities.level)},
          {"severity", to_string(severity_of(capabilities))},
          {"max_map_count", capabilities.max_map_count},
          {"maps_in_use", capabilities.maps_in_use},
          {"cgroup_limit", capabilities.cgroup_limit},
          {"machine_memory", capabilities.machine_memory},
          {"swap_space_free", capabilities.swap_space_free},
          {"nodes", capabilities.nodes},
          {"items", items}};
}

}  // namespace vmmctl
