#include "support/raw_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "support/measure.h"
#include "vmm/units.h"

namespace vmm::bench {
namespace {

[[noreturn]] void fail(const std::string& call, int error) {
  throw std::runtime_error(call + ": " + std::strerror(error));
}

}  // namespace

RawFile::RawFile(const std::string& directory, std::uint64_t bytes) {
  std::string path = directory + "/vmm-bench-raw.XXXXXX";
  fd_ = ::mkostemp(path.data(), O_CLOEXEC | O_DIRECT);
  if (fd_ < 0) fail("mkostemp with O_DIRECT in " + directory, errno);
  ::unlink(path.c_str());
  const auto give_up = [&](const char* call, int error) {
    ::close(fd_);
    fail(std::string(call) + " in " + directory, error);
  };
  if (::fallocate(fd_, 0, 0, static_cast<off_t>(bytes)) != 0) give_up("fallocate", errno);
  if (const int e = ::io_uring_queue_init(64, &ring_, 0)) give_up("io_uring_queue_init", -e);
}

RawFile::~RawFile() {
  ::io_uring_queue_exit(&ring_);
  ::close(fd_);
}

double RawFile::transfer(Op op, std::byte* memory, std::uint64_t bytes, unsigned depth) {
  return seconds([&] {
    unsigned in_flight = 0;
    for (std::uint64_t begun = 0, done = 0; done < bytes;) {
      for (; in_flight < depth && begun < bytes; begun += kRequest, ++in_flight) {
        auto* const entry = ::io_uring_get_sqe(&ring_);
        const auto length = static_cast<unsigned>(std::min(kRequest, bytes - begun));
        if (op == Op::write)
          ::io_uring_prep_write(entry, fd_, memory + begun, length, begun);
        else
          ::io_uring_prep_read(entry, fd_, memory + begun, length, begun);
        entry->user_data = length;
      }
      ::io_uring_submit(&ring_);
      io_uring_cqe* completion = nullptr;
      if (const int e = ::io_uring_wait_cqe(&ring_, &completion)) fail("io_uring_wait_cqe", -e);
      if (completion->res != static_cast<int>(completion->user_data))
        fail("raw transfer", completion->res < 0 ? -completion->res : EIO);
      done += completion->user_data;
      --in_flight;
      ::io_uring_cqe_seen(&ring_, completion);
    }
  });
}

double RawFile::write_all(std::span<const std::byte> memory, unsigned depth) {
  return transfer(Op::write, const_cast<std::byte*>(memory.data()), memory.size(), depth);
}

double RawFile::read_all(std::span<std::byte> memory, unsigned depth) {
  return transfer(Op::read, memory.data(), memory.size(), depth);
}

void RawFile::read_page(std::uint64_t page, std::byte* buffer) const {
  if (::pread(fd_, buffer, kPageSize, static_cast<off_t>(page * kPageSize)) != static_cast<ssize_t>(kPageSize))
    fail("pread", errno);
}

}  // namespace vmm::bench
