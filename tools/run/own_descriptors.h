// OwnDescriptors: the file descriptors of this library, which the program neither knows of nor may close: pages that
// are not in memory would read as zero without them. They have high numbers, where programs that choose numbers
// themselves (shells: exec 3<file) do not meet them; what a program closes or replaces by these numbers all the same,
// is refused (exported_files.cc). Thread-safety: any thread.
#pragma once

#include <cstdint>
#include <vector>

namespace vmm::run {

class OwnDescriptors {
 public:
  // While one lives, what is opened gets such a number, and is the library's from its end on. At the start, while
  // there is no other thread.
  class Making {
   public:
    Making() noexcept;
    ~Making();
    Making(const Making&) = delete;
    Making& operator=(const Making&) = delete;

   private:
    std::vector<int> fillers_;              // have all lower numbers
    std::vector<std::uint64_t> inherited_;  // open before
  };

  static bool contains(int descriptor) noexcept;
  // The numbers that any of them has, first and last. False: there are none.
  static bool bounds(int& first, int& last) noexcept;
  // Gives what a thread of the library has just opened such a number. Returns it; -1 stays -1.
  static int adopt(int descriptor) noexcept;
  // The library itself closes it.
  static void forget(int descriptor) noexcept;
};

}  // namespace vmm::run
