#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "page_sharing/image.h"

namespace page_sharing {
namespace {

tl::unexpected<vmm::Error> fail(int code, std::string operation, std::string remedy) {
  return tl::unexpected(vmm::Error{{code, std::generic_category()}, std::move(operation), std::move(remedy)});
}

class File {
 public:
  explicit File(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

vmm::Result<void> read_all(const File& file, const std::string& path, std::span<std::byte> memory) {
  for (std::uint64_t at = 0; at < memory.size();) {
    const auto got = ::pread(file.get(), memory.data() + at, memory.size() - at, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    const auto where =
        "image '" + path + "', read at byte " + std::to_string(at) + " of " + std::to_string(memory.size());
    if (got < 0) return fail(errno, where, "see that the file can be read to its end");
    if (got == 0) return fail(EIO, where, "it has become shorter: give a file that nobody changes meanwhile");
    at += static_cast<std::uint64_t>(got);
  }
  return {};
}

}  // namespace

vmm::Result<Image> image_file(const std::string& path) {
  const auto what = "image '" + path + "'";
  const auto file = std::make_shared<File>(path);
  struct stat status {};
  if (file->get() < 0 || ::fstat(file->get(), &status) != 0)
    return fail(errno, what, "give the path of a memory dump or disk image that may be read");
  if (!S_ISREG(status.st_mode))
    return fail(EINVAL, what + ", no regular file", "give a file: the contents of a device can be copied to one by dd");
  if (status.st_size == 0) return fail(EINVAL, what + ", of 0 bytes", "give a file that is not empty");
  Image image;
  image.name = path.substr(path.rfind('/') + 1);
  image.bytes = static_cast<std::uint64_t>(status.st_size);
  image.load = [file, path, bytes = image.bytes](std::span<std::byte> memory) {
    return read_all(*file, path, memory.first(bytes));
  };
  return image;
}

}  // namespace page_sharing
