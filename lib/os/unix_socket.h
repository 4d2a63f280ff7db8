// A Unix stream socket that listens at a path, and what is done with its connections. Nothing here blocks but
// wait_for_sockets().
// Thread-safety: one thread at a time for each object; the functions may be called from any.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "os/file.h"
#include "vmm/result.h"

namespace vmm::os {

// Longest path of a Unix socket, in bytes.
inline constexpr std::size_t kMostSocketPath = 107;

class UnixListener {
 public:
  // Listens at `path`; the file can be opened by this user alone (mode 0600), from its first moment. A socket that is
  // there and that no process listens at any more is replaced.
  // Errors: EADDRINUSE (somebody listens there), EEXIST (the file is no socket), EACCES, EPERM, EROFS, ENOENT, ENOTDIR
  // and others of bind(2), all naming the path.
  static Result<UnixListener> open(const std::string& path);

  UnixListener() noexcept = default;
  UnixListener(UnixListener&& other) noexcept;
  UnixListener& operator=(UnixListener&& other) noexcept;
  ~UnixListener() { close(); }

  // Closes it and removes the file, unless another has taken its place, or this is a fork's child.
  void close() noexcept;
  int fd() const noexcept { return fd_.get(); }

  // The next connection of this user or of root; those of others are closed. Its descriptor is not valid where there is
  // none: then `error` is 0 or what accept(2) has failed with.
  struct Accepted {
    FileDescriptor fd;
    int error = 0;
  };
  Accepted accept() const noexcept;

 private:
  FileDescriptor fd_;
  std::string path_;
  std::uint64_t device_ = 0, inode_ = 0;
  int process_ = 0;
};

// Bytes moved, 0 at the end of what comes, or an errno below 0: -EAGAIN where it would block.
long receive_some(int fd, std::span<char> into) noexcept;
long send_some(int fd, std::string_view bytes) noexcept;
// For both sides and for everybody who has the connection, a fork's child too.
void shut_down_socket(int fd) noexcept;

// What is waited for of a descriptor, and what has come of it.
struct SocketWait {
  int fd = -1;
  bool to_read = false, to_write = false;
  bool readable = false, writable = false;
  bool broken = false;  // the other side is gone
};
// Waits for at most timeout_ms (-1 = for ever). Returns an errno; 0 also on time-out and signals.
int wait_for_sockets(std::span<SocketWait> waits, int timeout_ms);

}  // namespace vmm::os
