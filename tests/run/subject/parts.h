// The parts of run_subject: each returns what the program ends with. Sizes are MiB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace subject {

int allocators();
int threads(std::size_t mib);
int mappings();
int limits();
int full();
int descriptors(std::size_t mib);
int fork_and_check(std::size_t mib);
int fork_and_exec(std::size_t mib);
int fork_tree(std::size_t mib);
int fork_and_drop(std::size_t mib);
int own_session();
int plugin();
int environment();
int exec_again(const char* self);

inline int well() {
  std::puts("well");
  return 0;
}

#define CHECK(condition)                                                           \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::_Exit(1);                                                               \
    }                                                                              \
  } while (false)

// Words that no two places have in common.
inline std::uint64_t word_of(std::uint64_t place, std::uint64_t version) {
  std::uint64_t x = place * 0x9e3779b97f4a7c15 + version * 0xbf58476d1ce4e5b9;
  x ^= x >> 29;
  return x * 0x94d049bb133111eb;
}

// A block that is written and compared as a whole.
struct Block {
  std::uint64_t* words = nullptr;
  std::size_t count = 0;
  void write(std::uint64_t version) const {
    for (std::size_t i = 0; i < count; ++i) words[i] = word_of(i, version);
  }
  bool holds(std::uint64_t version) const {
    for (std::size_t i = 0; i < count; ++i)
      if (words[i] != word_of(i, version)) return false;
    return true;
  }
};

}  // namespace subject
