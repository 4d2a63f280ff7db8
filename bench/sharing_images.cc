#include "sharing_images.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <random>
#include <string>

#include "support/child.h"

namespace vmm::bench {
namespace {

constexpr std::uint64_t kPages = 64 * MiB / kPageSize;
constexpr int kSkipped = 77;  // exit status of the scripts of tests/vm

// What each page holds: pages of equal numbers are equal; 0 is a page of zeros.
using PageNumbers = std::vector<std::uint64_t>;

Image image_of(const PageNumbers& numbers) {
  Image image(numbers.size() * kPageSize);
  auto* const words = reinterpret_cast<std::uint64_t*>(image.data());
  constexpr auto kWords = kPageSize / sizeof *words;
  for (std::uint64_t page = 0; page < numbers.size(); ++page) {
    std::uint64_t x = numbers[page] * 0x9e3779b97f4a7c15ULL;
    if (x == 0) continue;
    for (std::uint64_t i = 0; i < kWords; ++i) {
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      words[page * kWords + i] = x;
    }
  }
  return image;
}

PageNumbers ascending(std::uint64_t from) {
  PageNumbers numbers(kPages);
  std::iota(numbers.begin(), numbers.end(), from);
  return numbers;
}

std::runtime_error failure(const std::string& what) { return std::runtime_error(what + ": " + std::strerror(errno)); }

class OpenFile {
 public:
  explicit OpenFile(const std::string& path) : path_(path), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0) throw failure(path_);
  }
  ~OpenFile() { ::close(fd_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  // -1: none from there on.
  off_t next(off_t from, int what) const {
    const auto at = ::lseek(fd_, from, what);
    if (at < 0 && errno != ENXIO) throw failure("lseek " + path_);
    return at;
  }
  void read(off_t at, std::byte* to, std::size_t bytes) const {
    while (bytes > 0) {
      const auto got = ::pread(fd_, to, bytes, at);
      if (got <= 0) throw failure("read " + path_);
      at += got, to += got, bytes -= static_cast<std::size_t>(got);
    }
  }

 private:
  std::string path_;
  int fd_;
};

// Without its holes.
Image read_image(const std::string& path) {
  const OpenFile file(path);
  Image image;
  off_t end = 0;
  for (off_t at; (at = file.next(end, SEEK_DATA)) >= 0;) {
    end = file.next(at, SEEK_HOLE);
    const auto size = image.size(), bytes = static_cast<std::size_t>(end - at);
    image.resize(size + bytes);
    file.read(at, image.data() + size, bytes);
  }
  if (image.empty() || image.size() % kPageSize != 0)
    throw std::runtime_error(path + ": not whole pages; remove it, and it is made again");
  return image;
}

}  // namespace

Images runs_of(std::uint64_t length) {
  PageNumbers second(kPages);
  std::vector<std::uint64_t> order(kPages / length);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
  for (std::uint64_t i = 0; i < kPages; ++i) second[i] = 1 + order[i / length] * length + i % length;
  return {image_of(ascending(1)), image_of(second)};
}

Images clones() {
  auto second = ascending(1);
  std::rotate(second.begin(), second.end() - 3, second.end());
  return {image_of(ascending(1)), image_of(second)};
}

Images mostly_zero() {
  PageNumbers first(kPages), second(kPages);
  for (std::uint64_t i = 0; i < kPages; i += 10) {
    first[i] = 1 + i;
    second[i] = 1 + kPages + i;
  }
  return {image_of(first), image_of(second)};
}

Images nothing_equal() { return {image_of(ascending(1)), image_of(ascending(1 + kPages))}; }

Images real_guests() {
  const std::string script = VMM_IMAGES_SCRIPT;
  if (::access(script.c_str(), X_OK) != 0) throw NoImages("no " + script);
  Child child({script, VMM_BUILD_FOLDER, "6.12"});
  std::vector<std::string> lines;
  for (std::string line; !(line = child.read_line()).empty();) lines.push_back(line);
  const auto status = child.wait();
  const auto last = lines.empty() ? script + " said nothing" : lines.back();
  if (status == kSkipped) throw NoImages(last);
  if (status != 0 || lines.size() != 2) throw std::runtime_error(script + ": " + last);
  return {read_image(lines[0]), read_image(lines[1])};
}

}  // namespace vmm::bench
