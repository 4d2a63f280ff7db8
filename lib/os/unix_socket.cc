#include "os/unix_socket.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "base/error.h"
#include "os/call.h"
#include "os/process.h"

namespace vmm::os {
namespace {

// Connections that wait to be accepted.
constexpr int kBacklog = 128;

sockaddr_un address_of(const std::string& path) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), kMostSocketPath));
  return address;
}

FileDescriptor open_socket() noexcept {
  return FileDescriptor(
      call(Call::socket, [] { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }));
}

// An errno. The file gets the mode of the socket itself, less the umask: it is never open to others.
int bind_privately(int fd, const std::string& path) noexcept {
  if (::fchmod(fd, S_IRUSR | S_IWUSR) != 0) return errno;
  const auto address = address_of(path);
  return call(Call::bind, [&] { return ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address); }) == 0
             ? 0
             : errno;
}

// 0: nobody listens at the socket any more; else an errno.
int find_stale(const std::string& path) noexcept {
  const auto probe = open_socket();
  if (!probe.valid()) return errno;
  const auto address = address_of(path);
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == ECONNREFUSED || errno == ENOENT) return 0;
    return errno == EAGAIN ? EADDRINUSE : errno;
  }
  // A child of a process that is gone may have the descriptor still, and would never answer.
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(probe.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0 &&
      ::kill(peer.pid, 0) != 0 && errno == ESRCH)
    return 0;
  return EADDRINUSE;
}

// Removes the file if it is that one still. It is put aside first: another may take its place at any moment. An errno.
int remove_that(const std::string& path, const struct stat& that) {
  static std::atomic<unsigned> tries{0};
  const auto aside = path + ".stale-" + std::to_string(process_id()) + "-" + std::to_string(tries++);
  if (::rename(path.c_str(), aside.c_str()) != 0) return errno == ENOENT ? 0 : errno;
  struct stat moved {};
  int error = EADDRINUSE;
  if (::lstat(aside.c_str(), &moved) == 0 && moved.st_dev == that.st_dev && moved.st_ino == that.st_ino) {
    // Its owner may have begun to listen meanwhile, or another may have been given its number.
    error = find_stale(aside);
    if (error == 0 && call(Call::unlink, [&] { return ::unlink(aside.c_str()); }) == 0) return 0;
    if (error == 0) error = errno;
  }
  static_cast<void>(::renameat2(AT_FDCWD, aside.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE));
  return error;
}

tl::unexpected<Error> refuse(const std::string& path, int error) {
  const char* remedy = "give a path in a directory where this process may make files";
  if (error == EADDRINUSE) remedy = "another process listens there: give another path";
  if (error == EEXIST) remedy = "the file is no socket: remove it, or give another path";
  if (error == EMFILE || error == ENFILE) remedy = "raise RLIMIT_NOFILE";
  return base::fail_errno(error, "socket " + path, remedy);
}

}  // namespace

Result<UnixListener> UnixListener::open(const std::string& path) {
  UnixListener listener;
  listener.fd_ = open_socket();
  if (!listener.fd_.valid()) return refuse(path, errno);
  int error = bind_privately(listener.fd_.get(), path);
  if (error == EADDRINUSE) {
    struct stat there {};
    if (::lstat(path.c_str(), &there) != 0 && errno != ENOENT) return refuse(path, errno);
    if (!S_ISSOCK(there.st_mode)) return refuse(path, EEXIST);
    if (const int e = find_stale(path)) return refuse(path, e);
    if (const int e = remove_that(path, there)) return refuse(path, e);
    error = bind_privately(listener.fd_.get(), path);
  }
  if (error != 0) return refuse(path, error);
  listener.path_ = path;
  listener.process_ = process_id();
  struct stat made {};
  if (::lstat(path.c_str(), &made) != 0) return refuse(path, errno);
  listener.device_ = made.st_dev;
  listener.inode_ = made.st_ino;
  // An unusual umask takes rights of the owner, too.
  if ((made.st_mode & 0777U) != (S_IRUSR | S_IWUSR) && ::chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0)
    return refuse(path, errno);
  if (call(Call::listen, [&] { return ::listen(listener.fd_.get(), kBacklog); }) != 0) return refuse(path, errno);
  // Before it listened another may have taken it for one that nobody listens at any more.
  struct stat now {};
  if (::lstat(path.c_str(), &now) != 0 || now.st_dev != made.st_dev || now.st_ino != made.st_ino)
    return refuse(path, EADDRINUSE);
  return listener;
}

UnixListener::UnixListener(UnixListener&& other) noexcept { *this = std::move(other); }

UnixListener& UnixListener::operator=(UnixListener&& other) noexcept {
  if (this == &other) return *this;
  close();
  fd_ = std::move(other.fd_);
  path_ = std::move(other.path_);
  other.path_.clear();
  device_ = other.device_;
  inode_ = other.inode_;
  process_ = other.process_;
  return *this;
}

void UnixListener::close() noexcept {
  if (!path_.empty() && process_ == process_id()) {
    struct stat there {};
    if (::lstat(path_.c_str(), &there) == 0 && there.st_dev == device_ && there.st_ino == inode_)
      static_cast<void>(call(Call::unlink, [&] { return ::unlink(path_.c_str()); }));
  }
  path_.clear();
  fd_.reset();
}

UnixListener::Accepted UnixListener::accept() const noexcept {
  for (;;) {
    Accepted accepted;
    accepted.fd = FileDescriptor(
        call(Call::accept, [&] { return ::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); }));
    if (!accepted.fd.valid()) {
      const int error = errno;
      accepted.error = error == EAGAIN || error == EINTR || error == ECONNABORTED ? 0 : error;
      return accepted;
    }
    ucred peer{};
    socklen_t size = sizeof peer;
    const bool known = ::getsockopt(accepted.fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    if (known && (peer.uid == user_id() || peer.uid == 0)) return accepted;
  }
}

long receive_some(int fd, std::span<char> into) noexcept {
  const auto got = call(Call::receive, [&] { return ::recv(fd, into.data(), into.size(), MSG_DONTWAIT); });
  return got >= 0 ? got : -errno;
}

long send_some(int fd, std::string_view bytes) noexcept {
  const auto sent =
      call(Call::send, [&] { return ::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL); });
  return sent >= 0 ? sent : -errno;
}

void shut_down_socket(int fd) noexcept { ::shutdown(fd, SHUT_RDWR); }

int wait_for_sockets(std::span<SocketWait> waits, int timeout_ms) {
  std::vector<pollfd> polled;
  polled.reserve(waits.size());
  for (const auto& w : waits)
    polled.push_back({w.fd, static_cast<short>((w.to_read ? POLLIN : 0) | (w.to_write ? POLLOUT : 0)), 0});
  const int count = call(Call::poll, [&] { return ::poll(polled.data(), polled.size(), timeout_ms); });
  if (count < 0) return errno == EINTR ? 0 : errno;
  for (std::size_t i = 0; i < waits.size(); ++i) {
    const auto events = polled[i].revents;
    waits[i].readable = (events & POLLIN) != 0;
    waits[i].writable = (events & POLLOUT) != 0;
    waits[i].broken = (events & (POLLHUP | POLLERR | POLLNVAL)) != 0;
  }
  return 0;
}

}  // namespace vmm::os
