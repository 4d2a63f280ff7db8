// MemoryCgroup: a control group below this process's own that counts the memory of what is put into it, version 1
// or 2. It is empty at first and goes with its owner, after the processes in it.
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace vmm::bench {

class MemoryCgroup {
 public:
  // nullptr with a reason where there is none, or it may not be made.
  static std::unique_ptr<MemoryCgroup> create(std::string& reason);
  // One that exists, by its path; it stays.
  explicit MemoryCgroup(std::string path, bool owned = false) : path_(std::move(path)), owned_(owned) {}
  ~MemoryCgroup();
  MemoryCgroup(const MemoryCgroup&) = delete;
  MemoryCgroup& operator=(const MemoryCgroup&) = delete;

  const std::string& path() const noexcept { return path_; }
  // Bytes of memory, not of swap, that it may use at most. False: it may not be set.
  bool limit(std::uint64_t bytes) const;
  // Moves this process into it; what it has touched before stays charged elsewhere.
  void enter() const;
  // Moves this process into the group above.
  void leave() const;
  // Has the kernel reclaim all that is charged to it. False: it does not know how.
  bool reclaim_all() const;
  // Bytes, kernel memory included; 0 = cannot be read.
  std::uint64_t usage() const;
  // Greatest usage since the group was made.
  std::uint64_t peak() const;

 private:
  std::string path_;
  bool owned_;
};

}  // namespace vmm::bench
