#include "os/process_limits.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "base/error.h"
#include "os/call.h"
#include "os/file.h"
#include "os/proc_text.h"

namespace vmm::os {

Result<std::uint64_t> max_map_count() {
  const auto text = read_small_file("/proc/sys/vm/max_map_count");
  if (!text) return tl::unexpected(text.error());
  const auto number = number_of(*text);
  if (!number) return base::fail_errno(EBADMSG, "/proc/sys/vm/max_map_count: \"" + *text + "\"");
  return *number;
}

Result<std::uint64_t> maps_in_use() {
  // Lines are counted, not kept: 65,530 mappings are several MB of text.
  const FileDescriptor file(call(Call::read_file, [] { return ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC); }));
  if (!file.valid()) return base::fail_errno(errno, "open /proc/self/maps");
  std::array<char, 16384> buffer;
  std::uint64_t lines = 0;
  for (;;) {
    const ssize_t got = call(Call::read_file, [&] { return ::read(file.get(), buffer.data(), buffer.size()); });
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return base::fail_errno(errno, "read /proc/self/maps");
    if (got == 0) return lines;
    lines += static_cast<std::uint64_t>(std::count(buffer.data(), buffer.data() + got, '\n'));
  }
}

Result<std::optional<std::uint64_t>> soft_limit(std::string_view name) {
  const auto text = read_small_file("/proc/self/limits");
  if (!text) return tl::unexpected(text.error());
  const std::string_view value = field_of(*text, name);
  if (value.substr(0, 9) == "unlimited") return std::optional<std::uint64_t>();
  const auto number = number_of(value);
  if (!number) return base::fail_errno(EBADMSG, "/proc/self/limits: no limit \"" + std::string(name) + "\"");
  return std::optional<std::uint64_t>(*number);
}

}  // namespace vmm::os
