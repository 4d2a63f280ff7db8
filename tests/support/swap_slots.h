// Reads and damages slots of a guest's swap file behind the library's back, as a bad device would.
// Thread-safety: as of what is named.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "os/file.h"
#include "reclaim/swap_store.h"
#include "region/guest_memory.h"

namespace vmm::test {

// The guest's swap file once more, through the page cache: any offset and length will do.
inline os::FileDescriptor reopen_swap_file(const region::GuestMemory& guest) {
  const auto path = "/proc/self/fd/" + std::to_string(reclaim::SwapStore::of(guest).file.fd());
  os::FileDescriptor fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_TRUE(fd.valid()) << path;
  return fd;
}

inline off_t slot_offset(const region::GuestMemory& guest, std::uint64_t page) {
  const auto word = guest.table.load(page);
  EXPECT_TRUE(word.has_slot()) << "page " << page;
  return static_cast<off_t>(word.slot() * kPageSize);
}

inline std::vector<std::byte> read_slot(const region::GuestMemory& guest, std::uint64_t page) {
  std::vector<std::byte> bytes(kPageSize);
  const auto fd = reopen_swap_file(guest);
  EXPECT_EQ(::pread(fd.get(), bytes.data(), bytes.size(), slot_offset(guest, page)),
            static_cast<ssize_t>(bytes.size()));
  return bytes;
}

inline void write_slot(const region::GuestMemory& guest, std::uint64_t page, const std::vector<std::byte>& bytes) {
  const auto fd = reopen_swap_file(guest);
  EXPECT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), slot_offset(guest, page)),
            static_cast<ssize_t>(bytes.size()));
}

inline void flip_bit(const region::GuestMemory& guest, std::uint64_t page, std::size_t bit) {
  auto bytes = read_slot(guest, page);
  bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  write_slot(guest, page, bytes);
}

}  // namespace vmm::test
