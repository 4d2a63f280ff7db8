// RawFile: a file with its space reserved, read and written past the page cache as fast as one thread can: the
// peer of swap files. Its directory keeps no trace of it.
// Thread-safety: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <liburing.h>

namespace vmm::bench {

class RawFile {
 public:
  static constexpr std::uint64_t kRequest = 256 * 1024;  // bytes

  // Throws std::runtime_error.
  RawFile(const std::string& directory, std::uint64_t bytes);
  ~RawFile();
  RawFile(const RawFile&) = delete;
  RawFile& operator=(const RawFile&) = delete;

  // Transfers all of `memory` (as large as the file at most) sequentially in requests of kRequest, `depth` in
  // flight. Return the seconds it took; throw on any error.
  double write_all(std::span<const std::byte> memory, unsigned depth);
  double read_all(std::span<std::byte> memory, unsigned depth);
  // Reads one page, blocking; page-aligned buffer.
  void read_page(std::uint64_t page, std::byte* buffer) const;

 private:
  enum class Op { read, write };
  double transfer(Op op, std::byte* memory, std::uint64_t bytes, unsigned depth);

  int fd_ = -1;
  io_uring ring_{};
};

}  // namespace vmm::bench
