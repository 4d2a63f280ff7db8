// LoadOptions: what the process does that `overcommit` measures, on its way there as arguments.
// Thread-safety: plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "support/memory.h"

namespace vmm::bench {

// equal: all tenants work without pause. skewed: a third of them do, the others once in a while.
enum class Shape { equal, skewed };
inline const char* to_string(Shape shape) { return shape == Shape::equal ? "all active" : "a third active"; }

struct LoadOptions {
  std::uint64_t budget = 0;  // bytes of a host; 0: plain mappings
  std::uint64_t rows = 0;    // bytes to load into all databases together
  std::uint64_t tenants = 0;
  std::uint64_t seed = 1;
  Pages pages = Pages::huge;
  Shape shape = Shape::equal;
  bool mergeable = false;  // MADV_MERGEABLE
  std::string directory;   // of swap files
  std::string group;       // control group to enter; may be empty

  std::vector<std::string> arguments() const;
  static std::optional<LoadOptions> parse(int argc, char** argv);
};

}  // namespace vmm::bench
