// Settings: what `vmmctl run` tells the library that it has the program load, in one variable of the environment.
// Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace vmm::run {

// The variable: lines of name=value, as to_text() makes them.
inline constexpr const char* kSettingsVariable = "VMM_RUN";

struct Settings {
  std::uint64_t memory = 0;  // bytes that the program's memory may take of the machine's; 0: as HostOptions::memory
  std::uint64_t size = 0;    // bytes of the guest: all that the program can allocate
  std::string swap_directory;
  std::string stats_socket;  // "%p" in it becomes the process's id; empty: none
  bool stats_control = false;
  std::uint64_t mmap_threshold = 128 * 1024;  // anonymous mappings of so many bytes are guest memory
  bool report_at_exit = false;
  bool children = false;                      // programs that it starts get guests of their own
  bool accept_baseline = false;               // on kernels where a page that a device writes to can be taken away
  std::string library;                        // this library, as LD_PRELOAD names it
  std::optional<std::string> former_preload;  // LD_PRELOAD without it, if there was one
};

// No value may hold a line's end.
std::string to_text(const Settings& settings);
// Nothing where the text is none of to_text()'s.
std::optional<Settings> parse_settings(const std::string& text);

// `path` with the process's id for each "%p".
std::string with_process_id(const std::string& path, std::int64_t process);

}  // namespace vmm::run
