// Seed of a random test: VMM_TEST_SEED if set, else a new one. The test shows it with SCOPED_TRACE.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace vmm::test {

// Unless one is asked for.
inline std::uint64_t seed_or(std::uint64_t otherwise) {
  const char* given = std::getenv("VMM_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 0) : otherwise;
}

inline std::uint64_t seed() {
  if (std::getenv("VMM_TEST_SEED") != nullptr) return seed_or(0);
  std::random_device device;
  return static_cast<std::uint64_t>(device()) << 32 | device();
}

inline std::string seed_note(std::uint64_t seed) { return "repeat with VMM_TEST_SEED=" + std::to_string(seed); }

}  // namespace vmm::test
