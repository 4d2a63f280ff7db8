#include "program_file.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace vmm::run {
namespace {

constexpr std::string_view kLinker = "ld-linux-x86-64.so.2";
// As many scripts may interpret each other (execve(2)).
constexpr int kMostInterpreters = 5;

class File {
 public:
  explicit File(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  bool is_open() const { return fd_ >= 0; }
  int get() const { return fd_; }
  // How many bytes there were.
  std::size_t read(void* to, std::size_t bytes, off_t at) const {
    const auto got = ::pread(fd_, to, bytes, at);
    return got < 0 ? 0 : static_cast<std::size_t>(got);
  }

 private:
  int fd_;
};

std::string reason(const std::string& path, const std::string& what) { return path + " " + what; }

bool raises_privileges(const File& file) {
  struct stat there {};
  if (::fstat(file.get(), &there) != 0) return false;
  if ((there.st_mode & S_ISUID) != 0 && there.st_uid != ::geteuid()) return true;
  if ((there.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && there.st_gid != ::getegid()) return true;
  // root gains nothing by capabilities of the file.
  return ::geteuid() != 0 && ::fgetxattr(file.get(), "security.capability", nullptr, 0) > 0;
}

std::string of_elf(const std::string& path, const File& file) {
  Elf64_Ehdr header{};
  if (file.read(&header, sizeof(header), 0) != sizeof(header) || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_machine != EM_X86_64)
    return reason(path, "is not a program for x86-64, and the library is");
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr part{};
    const auto at = static_cast<off_t>(header.e_phoff + std::uint64_t{i} * header.e_phentsize);
    if (file.read(&part, sizeof(part), at) != sizeof(part)) break;
    if (part.p_type != PT_INTERP) continue;
    std::string linker(part.p_filesz < 4096 ? part.p_filesz : 0, '\0');
    linker.resize(file.read(linker.data(), linker.size(), static_cast<off_t>(part.p_offset)));
    linker = linker.c_str();
    if (linker.substr(linker.rfind('/') + 1) == kLinker) return {};
    return reason(path, "uses another C library (its dynamic linker is " + linker + "), and the library is for glibc");
  }
  return reason(path, "is linked statically: no library can be loaded into it");
}

}  // namespace

ProgramFile find_program(const std::string& name, const std::string& path) {
  const auto at = [](const std::string& file) -> ProgramFile {
    struct stat there {};
    if (::stat(file.c_str(), &there) != 0)
      return {errno == ENOENT || errno == ENOTDIR ? 127 : 126, {}, file + ": " + std::strerror(errno)};
    if (S_ISDIR(there.st_mode)) return {126, {}, file + ": is a directory"};
    if (::access(file.c_str(), X_OK) != 0) return {126, {}, file + ": " + std::strerror(errno)};
    return {0, file, {}};
  };
  if (name.find('/') != std::string::npos) return at(name);
  ProgramFile found{127, {}, name + ": not found"};
  if (name.empty()) return found;
  for (std::size_t from = 0; from <= path.size();) {
    const auto end = std::min(path.find(':', from), path.size());
    const std::string folder = path.substr(from, end - from);
    auto candidate = at((folder.empty() ? "." : folder) + "/" + name);
    if (candidate.status == 0) return candidate;
    if (candidate.status == 126 && found.status == 127) found = std::move(candidate);
    from = end + 1;
  }
  return found;
}

std::string why_not_preloadable(const std::string& path) {
  std::string program = path;
  for (int i = 0; i < kMostInterpreters; ++i) {
    const File file(program);
    // A program that may be executed and not read: nothing is known of it.
    if (!file.is_open()) return {};
    std::array<char, 256> begin{};
    const std::string_view text(begin.data(), file.read(begin.data(), begin.size() - 1, 0));
    if (!text.starts_with("#!")) {
      if (!text.starts_with(ELFMAG)) return i == 0 ? reason(program, "is neither a program nor a script") : "";
      if (raises_privileges(file))
        return reason(program,
                      "is set-user-ID or the like: the dynamic linker loads no library of its caller's into it");
      return of_elf(program, file);
    }
    const auto from = text.find_first_not_of(" \t", 2);
    if (from == std::string_view::npos) return {};
    program = text.substr(from, text.find_first_of(" \t\r\n", from) - from);
  }
  return {};
}

}  // namespace vmm::run
