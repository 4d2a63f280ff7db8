// MemoryVfs: an SQLite VFS with a single database file, whose bytes are a span of memory.
//
// The file begins at the start of the span and may grow to its end; bytes past the end of the file are
// zero, and whole pages of them are handed to `discard`. Journals and temporary files have no place here:
// a connection sets journal_mode=MEMORY and temp_store=MEMORY (Database does).
// Thread-safety: one connection at a time, from any thread; size() and capacity() at any time.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "outcome.h"

namespace tenants {

class MemoryVfs {
 public:
  // Gives whole pages (offset and bytes are multiples of vmm::kPageSize) back. Returns whether they read
  // as zero from now on; if not, the VFS writes the zeros itself.
  using Discard = std::function<bool(std::uint64_t offset, std::uint64_t bytes)>;

  // Registers the VFS with SQLite. `memory` must be zero, begin on a page boundary, and outlive the VFS.
  // Errors: an empty span, a name that is taken, or what SQLite says.
  static Outcome<std::unique_ptr<MemoryVfs>> create(std::string name, std::span<std::byte> memory,
                                                    Discard discard = {});
  // Every connection must be closed by now.
  ~MemoryVfs();
  MemoryVfs(const MemoryVfs&) = delete;
  MemoryVfs& operator=(const MemoryVfs&) = delete;

  const std::string& name() const noexcept { return name_; }
  // Bytes of the file, and of the memory it may grow into.
  std::uint64_t size() const noexcept { return size_.load(std::memory_order_relaxed); }
  std::uint64_t capacity() const noexcept { return memory_.size(); }

  // The file operations as SQLite asks for them; each returns an SQLite result code.
  // read: what lies past the end is zero-filled, with SQLITE_IOERR_SHORT_READ.
  int read(void* into, std::uint64_t bytes, std::uint64_t offset) const noexcept;
  // write: SQLITE_FULL where the memory ends; nothing is written then.
  int write(const void* from, std::uint64_t bytes, std::uint64_t offset) noexcept;
  // truncate: makes the file shorter; a greater size is left alone, as SQLite never asks for it.
  int truncate(std::uint64_t size) noexcept;

  // Whether the file is open; false if it was already (open) or was not (close).
  bool open() noexcept { return !std::exchange(opened_, true); }
  void close() noexcept { opened_ = false; }

 private:
  MemoryVfs(std::string name, std::span<std::byte> memory, Discard discard);
  void zero(std::uint64_t begin, std::uint64_t end) noexcept;

  const std::string name_;
  const std::span<std::byte> memory_;
  const Discard discard_;
  std::atomic<std::uint64_t> size_{0};
  bool opened_ = false;
  bool registered_ = false;
  sqlite3_vfs vfs_{};
};

}  // namespace tenants
