#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>

#include "page_sharing/image.h"
#include "vmm/units.h"

namespace page_sharing {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kLongestRun = 128;

struct Run {
  std::uint64_t first = 0, pages = 0;
};

// Regular files with ".so" in their names, by name.
std::vector<std::string> libraries() {
  std::vector<std::string> paths;
  for (const char* folder : {"/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"}) {
    std::error_code ignored;
    for (fs::directory_iterator entry(folder, ignored), end; entry != end; entry.increment(ignored))
      if (entry->path().filename().string().find(".so") != std::string::npos && !entry->is_symlink(ignored) &&
          entry->is_regular_file(ignored))
        paths.push_back(entry->path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

// Each begins with a page, as in a page cache. Less than `bytes` if there is no more.
std::vector<std::byte> library_bytes(const std::vector<std::string>& paths, std::uint64_t bytes) {
  std::vector<std::byte> all;
  for (const auto& path : paths) {
    if (all.size() >= bytes) break;
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file || file.tellg() <= 0) continue;
    const auto length = std::min(static_cast<std::uint64_t>(file.tellg()), bytes - all.size());
    const auto at = all.size();
    all.resize(at + (length + vmm::kPageSize - 1) / vmm::kPageSize * vmm::kPageSize);
    file.seekg(0);
    file.read(reinterpret_cast<char*>(all.data() + at), static_cast<std::streamsize>(length));
  }
  return all;
}

// Pages of at least `wanted` bytes.
vmm::Result<std::vector<std::byte>> read_libraries(std::uint64_t wanted) {
  const auto paths = libraries();
  std::uint64_t there = 0;
  for (const auto& path : paths) {
    std::error_code failed;
    const auto size = fs::file_size(path, failed);
    if (!failed) there += size;
  }
  if (there >= wanted) {
    auto bytes = library_bytes(paths, wanted);
    if (bytes.size() >= wanted) return bytes;
    there = bytes.size();
  }
  return tl::unexpected(vmm::Error{std::make_error_code(std::errc::no_such_file_or_directory),
                                   "shared libraries in /usr/lib: " + std::to_string(there / vmm::MiB) +
                                       " MiB of the " + std::to_string(wanted / vmm::MiB) + " that a guest holds",
                                   "make smaller guests, or give files"});
}

// All `pages`, in runs of lengths and in an order that follow from the generator's state.
std::vector<Run> cut_and_shuffle(std::uint64_t pages, std::mt19937_64& random) {
  std::vector<Run> runs;
  for (std::uint64_t at = 0; at < pages; at += runs.back().pages)
    runs.push_back({at, std::min(pages - at, 1 + random() % kLongestRun)});
  for (std::uint64_t i = runs.size(); i > 1; --i) std::swap(runs[i - 1], runs[random() % i]);
  return runs;
}

// In its own order it has the common pages, then those of zeros, then its own.
void make(unsigned guest, const std::vector<std::byte>& common, std::uint64_t zero, std::span<std::byte> memory) {
  std::mt19937_64 random(guest);
  const auto from = common.size(), own = from + zero;
  auto* to = memory.data();
  for (const Run& run : cut_and_shuffle(memory.size() / vmm::kPageSize, random))
    for (auto at = run.first * vmm::kPageSize; at < (run.first + run.pages) * vmm::kPageSize;
         at += vmm::kPageSize, to += vmm::kPageSize) {
      if (at < from)
        std::memcpy(to, common.data() + at, vmm::kPageSize);
      else if (at < own)
        std::memset(to, 0, vmm::kPageSize);
      else
        std::generate_n(reinterpret_cast<std::uint64_t*>(to), vmm::kPageSize / 8, std::ref(random));
    }
}

}  // namespace

vmm::Result<std::vector<Image>> made_images(unsigned count, std::uint64_t bytes) {
  const auto part = [bytes](std::uint64_t percent) { return bytes / vmm::kPageSize * percent / 100 * vmm::kPageSize; };
  const auto zero = part(kZeroPercent), wanted = bytes - zero - part(kOwnPercent);
  auto read = read_libraries(wanted);
  if (!read) return tl::unexpected(read.error());
  const auto common = std::make_shared<const std::vector<std::byte>>(std::move(*read));
  std::vector<Image> images;
  for (unsigned guest = 1; guest <= count; ++guest)
    images.push_back({"made", bytes, [=](std::span<std::byte> memory) -> vmm::Result<void> {
                        make(guest, *common, zero, memory.first(bytes));
                        return {};
                      }});
  return images;
}

}  // namespace page_sharing
