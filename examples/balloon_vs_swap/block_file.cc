#include "balloon_vs_swap/block_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <system_error>

namespace balloon_vs_swap {
namespace {

constexpr std::uint64_t kWords = BlockFile::kBlock / sizeof(std::uint64_t);

constexpr std::uint64_t word_of(std::uint64_t block, std::uint64_t word) noexcept {
  return (block * kWords + word + 1) * 0x9e3779b97f4a7c15ULL;
}

[[noreturn]] void fail(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

}  // namespace

BlockFile::BlockFile(const std::string& directory, std::uint64_t blocks)
    : blocks_(blocks), buffer_(static_cast<std::byte*>(std::aligned_alloc(4096, kBlock))) {
  if (buffer_ == nullptr) throw std::bad_alloc();
  fd_ = ::open(directory.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC | O_DIRECT, 0600);
  if (fd_ < 0) {
    std::free(buffer_);
    fail("a file of blocks in " + directory);
  }
  for (std::uint64_t block = 0; block < blocks; ++block) {
    fill(buffer_, block);
    const auto written = ::pwrite(fd_, buffer_, kBlock, static_cast<off_t>(block * kBlock));
    if (written == static_cast<ssize_t>(kBlock)) continue;
    if (written >= 0) errno = ENOSPC;
    const int error = errno;
    ::close(fd_);
    std::free(buffer_);
    errno = error;
    fail("writing the file of blocks in " + directory);
  }
}

BlockFile::~BlockFile() {
  ::close(fd_);
  std::free(buffer_);
}

void BlockFile::fill(std::byte* bytes, std::uint64_t block) noexcept {
  for (std::uint64_t i = 0; i < kWords; ++i) {
    const std::uint64_t word = word_of(block, i);
    std::memcpy(bytes + i * sizeof word, &word, sizeof word);
  }
}

const std::byte* BlockFile::read(std::uint64_t block) {
  const auto got = ::pread(fd_, buffer_, kBlock, static_cast<off_t>(block * kBlock));
  if (got == static_cast<ssize_t>(kBlock)) return buffer_;
  if (got >= 0) errno = EIO;
  fail("reading the file of blocks");
}

bool BlockFile::right(const std::byte* bytes, std::uint64_t block) noexcept {
  std::uint64_t different = 0;
  for (std::uint64_t i = 0; i < kWords; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + i * sizeof word, sizeof word);
    different |= word ^ word_of(block, i);
  }
  return different == 0;
}

}  // namespace balloon_vs_swap
