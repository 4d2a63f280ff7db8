// Hosts and guests in static storage of two files. The order in which they are made is the linker's, and in one file it
// is the opposite of the other's: whichever ends first, a host in one and its guest in the other tell both orders.
// Thread-safety: none; one thread makes and ends them.
#pragma once

#include "vmm/vmm.h"

namespace vmm::test {

// What is said when a guest in static storage ends.
void say_end(const char* which, Guest& guest);

// A guest that is asked for its state in the last moment: is its host alive still?
struct LastWords {
  explicit LastWords(const char* name) : which(name) {}
  ~LastWords() { say_end(which, guest); }
  const char* which;
  Guest guest;
};

extern Host host_in_first, host_in_second;
extern LastWords guest_in_first, guest_in_second;

}  // namespace vmm::test
