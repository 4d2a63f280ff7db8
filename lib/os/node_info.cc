#include "os/node_info.h"

#include <cerrno>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "os/file.h"
#include "os/proc_text.h"
#include "vmm/units.h"

namespace vmm::os {
namespace {

Result<std::string> node_file(int node, const char* file) {
  auto text = read_small_file("/sys/devices/system/node/node" + std::to_string(node) + "/" + file);
  if (!text && text.error().code.value() == ENOENT)
    return base::fail_errno(ENODEV, "node " + std::to_string(node), "name a node of /sys/devices/system/node/online");
  return text;
}

Result<std::vector<int>> list_of(std::string_view text, const std::string& source) {
  auto list = base::parse_list(text);
  if (!list) return base::fail_errno(EBADMSG, source + ": \"" + std::string(text) + "\" is no list of numbers");
  return *std::move(list);
}

Result<std::uint64_t> kib_field(std::string_view text, std::string_view field, const std::string& source) {
  const auto kib = number_of(field_of(text, field));
  if (!kib) return base::fail_errno(EBADMSG, source + ": no field " + std::string(field));
  return *kib * KiB;
}

}  // namespace

Result<std::uint64_t> node_free_bytes(int node) {
  const auto text = node_file(node, "meminfo");
  if (!text) return tl::unexpected(text.error());
  const std::string prefix = "Node " + std::to_string(node) + " ";
  return kib_field(*text, prefix + "MemFree", "meminfo of node " + std::to_string(node));
}

Result<std::vector<int>> node_cpus(int node) {
  const auto text = node_file(node, "cpulist");
  if (!text) return tl::unexpected(text.error());
  return list_of(*text, "cpulist of node " + std::to_string(node));
}

Result<std::vector<int>> allowed_nodes() {
  const auto text = read_small_file("/proc/self/status");
  if (!text) return tl::unexpected(text.error());
  const auto list = field_of(*text, "Mems_allowed_list");
  if (list.empty()) return base::fail_errno(EBADMSG, "/proc/self/status: no field Mems_allowed_list");
  return list_of(list, "Mems_allowed_list of /proc/self/status");
}

Result<std::uint64_t> machine_memory() {
  const auto text = read_small_file("/proc/meminfo");
  if (!text) return tl::unexpected(text.error());
  return kib_field(*text, "MemTotal", "/proc/meminfo");
}

}  // namespace vmm::os
