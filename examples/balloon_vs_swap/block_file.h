// BlockFile: a file of blocks that is read past the page cache, as databases read theirs: what is not in the reader's
// own cache comes from the disk.
// Thread-safety: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace balloon_vs_swap {

class BlockFile {
 public:
  static constexpr std::size_t kBlock = 8192;  // bytes

  // Makes it in `directory`, where it leaves no name. Throws std::system_error.
  BlockFile(const std::string& directory, std::uint64_t blocks);
  ~BlockFile();
  BlockFile(const BlockFile&) = delete;
  BlockFile& operator=(const BlockFile&) = delete;

  std::uint64_t blocks() const noexcept { return blocks_; }
  // The block's bytes, valid until the next call. Throws std::system_error.
  const std::byte* read(std::uint64_t block);
  // They are those of the block.
  static bool right(const std::byte* bytes, std::uint64_t block) noexcept;

 private:
  static void fill(std::byte* bytes, std::uint64_t block) noexcept;

  int fd_ = -1;
  std::uint64_t blocks_;
  std::byte* buffer_;  // aligned as the disk wants it, and not in the guest, whose memory moves
};

}  // namespace balloon_vs_swap
