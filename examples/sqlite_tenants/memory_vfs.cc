#include "memory_vfs.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "vmm/units.h"

namespace tenants {
namespace {

// What SQLite allocates for an open file.
struct File {
  sqlite3_file base;
  MemoryVfs* vfs;
};

MemoryVfs& vfs_of(sqlite3_file* file) noexcept { return *reinterpret_cast<File*>(file)->vfs; }
MemoryVfs& vfs_of(sqlite3_vfs* vfs) noexcept { return *static_cast<MemoryVfs*>(vfs->pAppData); }
std::uint64_t unsign(sqlite3_int64 value) noexcept { return static_cast<std::uint64_t>(value); }

int file_close(sqlite3_file* file) {
  vfs_of(file).close();
  return SQLITE_OK;
}

int file_read(sqlite3_file* file, void* into, int bytes, sqlite3_int64 offset) {
  return vfs_of(file).read(into, unsign(bytes), unsign(offset));
}

int file_write(sqlite3_file* file, const void* from, int bytes, sqlite3_int64 offset) {
  return vfs_of(file).write(from, unsign(bytes), unsign(offset));
}

int file_truncate(sqlite3_file* file, sqlite3_int64 size) { return vfs_of(file).truncate(unsign(size)); }

int file_sync(sqlite3_file*, int) { return SQLITE_OK; }

int file_size(sqlite3_file* file, sqlite3_int64* size) {
  *size = static_cast<sqlite3_int64>(vfs_of(file).size());
  return SQLITE_OK;
}

// One connection: every lock is free.
int file_lock(sqlite3_file*, int) { return SQLITE_OK; }

int file_reserved(sqlite3_file*, int* reserved) {
  *reserved = 0;
  return SQLITE_OK;
}

int file_control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int file_sector(sqlite3_file*) { return static_cast<int>(vmm::kPageSize); }
int file_device(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE | SQLITE_IOCAP_SEQUENTIAL; }

// Version 1: no shared memory (so no WAL) and no xFetch (so SQLite never maps the file).
constexpr sqlite3_io_methods kFileMethods = {
    1,         file_close, file_read,     file_write,   file_truncate, file_sync,   file_size,
    file_lock, file_lock,  file_reserved, file_control, file_sector,   file_device, nullptr,
    nullptr,   nullptr,    nullptr,       nullptr,      nullptr,
};

int vfs_open(sqlite3_vfs* vfs, const char*, sqlite3_file* file, int flags, int* flags_out) {
  file->pMethods = nullptr;
  if ((flags & SQLITE_OPEN_MAIN_DB) == 0) return SQLITE_CANTOPEN;
  if (!vfs_of(vfs).open()) return SQLITE_CANTOPEN;
  auto* opened = reinterpret_cast<File*>(file);
  opened->vfs = &vfs_of(vfs);
  opened->base.pMethods = &kFileMethods;
  if (flags_out != nullptr) *flags_out = flags;
  return SQLITE_OK;
}

// There is nothing but the database, and SQLite deletes only journals.
int vfs_delete(sqlite3_vfs*, const char*, int) { return SQLITE_IOERR_DELETE_NOENT; }

int vfs_access(sqlite3_vfs*, const char*, int, int* exists) {
  *exists = 0;
  return SQLITE_OK;
}

int vfs_full_pathname(sqlite3_vfs*, const char* name, int bytes, char* path) {
  sqlite3_snprintf(bytes, path, "%s", name);
  return SQLITE_OK;
}

sqlite3_vfs* system_vfs() noexcept { return sqlite3_vfs_find(nullptr); }
int vfs_randomness(sqlite3_vfs*, int bytes, char* into) { return system_vfs()->xRandomness(system_vfs(), bytes, into); }
int vfs_sleep(sqlite3_vfs*, int microseconds) { return system_vfs()->xSleep(system_vfs(), microseconds); }
int vfs_time(sqlite3_vfs*, double* days) { return system_vfs()->xCurrentTime(system_vfs(), days); }
int vfs_last_error(sqlite3_vfs*, int, char*) { return 0; }

}  // namespace

Outcome<std::unique_ptr<MemoryVfs>> MemoryVfs::create(std::string name, std::span<std::byte> memory, Discard discard) {
  if (memory.empty()) return fail("VFS " + name + ": no memory for the file (give at least a page)");
  // The first call initialises SQLite, which also makes the system's VFS known.
  if (sqlite3_vfs_find(name.c_str()) != nullptr) return fail("VFS " + name + ": the name is taken (give another)");
  std::unique_ptr<MemoryVfs> vfs(new MemoryVfs(std::move(name), memory, std::move(discard)));
  const int code = sqlite3_vfs_register(&vfs->vfs_, 0);
  if (code != SQLITE_OK) return fail("VFS " + vfs->name_ + ": registration: " + sqlite3_errstr(code));
  vfs->registered_ = true;
  return vfs;
}

MemoryVfs::MemoryVfs(std::string name, std::span<std::byte> memory, Discard discard)
    : name_(std::move(name)), memory_(memory), discard_(std::move(discard)) {
  vfs_.iVersion = 1;
  vfs_.szOsFile = sizeof(File);
  vfs_.mxPathname = 512;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.xOpen = vfs_open;
  vfs_.xDelete = vfs_delete;
  vfs_.xAccess = vfs_access;
  vfs_.xFullPathname = vfs_full_pathname;
  vfs_.xRandomness = vfs_randomness;
  vfs_.xSleep = vfs_sleep;
  vfs_.xCurrentTime = vfs_time;
  vfs_.xGetLastError = vfs_last_error;
}

MemoryVfs::~MemoryVfs() {
  if (registered_) sqlite3_vfs_unregister(&vfs_);
}

int MemoryVfs::read(void* into, std::uint64_t bytes, std::uint64_t offset) const noexcept {
  const std::uint64_t end = size();
  const std::uint64_t have = offset < end ? std::min(bytes, end - offset) : 0;
  if (have > 0) std::memcpy(into, memory_.data() + offset, have);
  if (have == bytes) return SQLITE_OK;
  std::memset(static_cast<std::byte*>(into) + have, 0, bytes - have);
  return SQLITE_IOERR_SHORT_READ;
}

int MemoryVfs::write(const void* from, std::uint64_t bytes, std::uint64_t offset) noexcept {
  if (offset > capacity() || bytes > capacity() - offset) return SQLITE_FULL;
  std::memcpy(memory_.data() + offset, from, bytes);
  // A gap between the old end and offset is zero already.
  if (offset + bytes > size()) size_.store(offset + bytes, std::memory_order_relaxed);
  return SQLITE_OK;
}

int MemoryVfs::truncate(std::uint64_t size) noexcept {
  const std::uint64_t end = this->size();
  if (size >= end) return SQLITE_OK;
  size_.store(size, std::memory_order_relaxed);
  const auto page_up = [](std::uint64_t bytes) {
    return (bytes + vmm::kPageSize - 1) / vmm::kPageSize * vmm::kPageSize;
  };
  // The whole pages from `first` to `last` are given back; past the end there are only zeros, so the file's last
  // page is whole if the memory has all of it.
  const std::uint64_t first = page_up(size);
  const std::uint64_t last = std::min(page_up(end), capacity() / vmm::kPageSize * vmm::kPageSize);
  if (first < last && discard_ && discard_(first, last - first)) {
    zero(size, first);
    zero(last, end);
  } else {
    zero(size, end);
  }
  return SQLITE_OK;
}

void MemoryVfs::zero(std::uint64_t begin, std::uint64_t end) noexcept {
  if (begin < end) std::memset(memory_.data() + begin, 0, end - begin);
}

}  // namespace tenants
