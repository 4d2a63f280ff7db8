// FileDescriptor owns one descriptor; beside it are two small questions to the file system.
// Thread-safety: a FileDescriptor belongs to one thread at a time; the functions may be called from any
// thread but allocate, so fault threads do not call them.
#pragma once

#include <cstdint>
#include <string>

#include "vmm/result.h"

namespace vmm::os {

// Move-only. -1 means none.
class FileDescriptor {
 public:
  FileDescriptor() noexcept = default;
  explicit FileDescriptor(int fd) noexcept : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() { reset(); }

  int get() const noexcept { return fd_; }
  bool valid() const noexcept { return fd_ >= 0; }
  int release() noexcept {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  // Closes what it had. An error of close(2) is dropped: Linux frees the descriptor all the same. Keeps errno.
  void reset(int fd = -1) noexcept;

 private:
  int fd_ = -1;
};

// The whole text of a file of /proc or /sys, at most 1 MiB of it.
// Errors: any errno of open(2) or read(2), naming the path.
Result<std::string> read_small_file(const std::string& path);

// Bytes that this process could still write to the file system of `directory`.
// Errors: any errno of statvfs(3), naming the directory.
Result<std::uint64_t> available_bytes(const std::string& directory);

}  // namespace vmm::os
