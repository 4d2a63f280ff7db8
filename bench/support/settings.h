// Settings of a run of the comparisons, from the command line.
// Thread-safety: plain values.
#pragma once

#include <string>

namespace vmm::bench {

struct Settings {
  // Holds the swap files of guests, of the kernel, and the raw file: one file system for all of them.
  std::string directory;
  // This program, for the comparisons that need a process of their own.
  std::string program;
};

}  // namespace vmm::bench
