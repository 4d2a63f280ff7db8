#include "support/kernel_view.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <functional>
#include <sstream>
#include <vector>

#include "vmm/units.h"

namespace vmm::test {
namespace {

// Calls `each` with every mapping's first and last address and each line below its first.
void walk_smaps(const std::function<void(std::uintptr_t, std::uintptr_t, const std::string&)>& each) {
  std::ifstream smaps("/proc/self/smaps");
  std::uintptr_t first = 0, last = 0;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long a = 0, b = 0;
    char rights[8] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &a, &b, rights) == 3) {
      first = a;
      last = b;
      each(first, last, {});
    } else {
      each(first, last, line);
    }
  }
}

std::string fdinfo(int fd, const std::string& name) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd));
  for (std::string line; std::getline(info, line);)
    if (line.rfind(name + ":", 0) == 0) return line.substr(name.size() + 1);
  return {};
}

}  // namespace

std::uint64_t resident_pages(const std::byte* start, std::uint64_t pages) {
  std::vector<unsigned char> bits(pages);
  if (::mincore(const_cast<std::byte*>(start), pages * kPageSize, bits.data()) != 0) return ~std::uint64_t{0};
  std::uint64_t count = 0;
  for (const auto b : bits) count += b & 1u;
  return count;
}

std::uint64_t smaps_bytes(const std::byte* start, std::uint64_t bytes, const std::string& field) {
  const auto from = reinterpret_cast<std::uintptr_t>(start), to = from + bytes;
  std::uint64_t sum = 0;
  walk_smaps([&](std::uintptr_t first, std::uintptr_t last, const std::string& line) {
    if (first < from || last > to || line.rfind(field + ":", 0) != 0) return;
    sum += std::stoull(line.substr(field.size() + 1)) * KiB;
  });
  return sum;
}

std::string smaps_flags(const std::byte* start) {
  std::string flags;
  walk_smaps([&](std::uintptr_t first, std::uintptr_t, const std::string& line) {
    if (first == reinterpret_cast<std::uintptr_t>(start) && line.rfind("VmFlags:", 0) == 0) flags = line.substr(8);
  });
  return flags + " ";
}

std::vector<std::string> mapping_policies(const std::byte* start, std::uint64_t bytes) {
  const auto from = reinterpret_cast<std::uintptr_t>(start), to = from + bytes;
  std::vector<std::string> policies;
  std::ifstream file("/proc/self/numa_maps");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::uintptr_t address = 0;
    std::string policy;
    words >> std::hex >> address >> policy;
    if (address >= from && address < to) policies.push_back(policy);
  }
  return policies;
}

std::size_t mappings_in(const std::byte* start, std::uint64_t bytes) {
  const auto from = reinterpret_cast<std::uintptr_t>(start), to = from + bytes;
  std::size_t count = 0;
  walk_smaps([&](std::uintptr_t first, std::uintptr_t last, const std::string& line) {
    if (line.empty() && first >= from && last <= to) ++count;
  });
  return count;
}

std::size_t registered_mappings() {
  std::size_t count = 0;
  walk_smaps([&](std::uintptr_t, std::uintptr_t, const std::string& line) {
    if (line.rfind("VmFlags:", 0) == 0 && (line + " ").find(" um ") != std::string::npos) ++count;
  });
  return count;
}

int node_of_page(const std::byte* page) { return nodes_of_pages(page, 1)[0]; }

std::vector<int> nodes_of_pages(const std::byte* start, std::uint64_t pages) {
  std::vector<void*> addresses(pages);
  for (std::uint64_t page = 0; page < pages; ++page) addresses[page] = const_cast<std::byte*>(start) + page * kPageSize;
  std::vector<int> nodes(pages, -EINVAL);
  if (::syscall(SYS_move_pages, 0, pages, addresses.data(), nullptr, nodes.data(), 0) != 0) nodes.assign(pages, -errno);
  for (int& node : nodes)
    if (node == -EFAULT) node = -ENOENT;  // what 6.1 says of a hole
  return nodes;
}

std::uint64_t waiting_faults(int userfaultfd) {
  const auto text = fdinfo(userfaultfd, "total");
  return text.empty() ? 0 : std::stoull(text);
}

std::uint64_t userfaultfd_features(int userfaultfd) {
  // "API:\taa:<features>:<ioctls>", all hexadecimal.
  std::istringstream text(fdinfo(userfaultfd, "API"));
  std::string api, features;
  std::getline(text, api, ':');
  std::getline(text, features, ':');
  return features.empty() ? 0 : std::stoull(features, nullptr, 16);
}

}  // namespace vmm::test
