// Frame notes: the entries of a share table that say which frame holds a page's bytes, and under which salt.
//
// A frame may be a double: another holds the same, but long runs were not to be broken up for it.
//
// A page that shows a frame is found by the hint that was noted of it before. When it shows that no more, others may do
// so still: then the frame is noted itself. Of equal bytes under another salt nothing is to be learnt, so a frame
// remembers its salt.
// Thread-safety: one thread, the worker of the store's node.
#pragma once

#include <cstdint>
#include <utility>

#include "os/mapping.h"
#include "sharing/frame_store.h"
#include "sharing/page_key.h"
#include "sharing/share_table.h"
#include "vmm/result.h"

namespace vmm::sharing {

class FrameNotes {
 public:
  // What it is given outlives it. Errors: ENOMEM.
  static Result<FrameNotes> create(FrameStore& store, ShareTable& table, std::uint64_t key_mask) {
    auto salts = os::Mapping::anonymous(store.capacity() * sizeof(std::uint32_t));
    if (!salts) return tl::unexpected(salts.error());
    return FrameNotes(store, table, key_mask, std::move(*salts));
  }

  // The frames, new ones, hold pages of a guest of that salt.
  void set_salt(FrameRun run, std::uint32_t salt) noexcept {
    for (auto f = run.first; f < run.first + run.count; ++f) salt_of(f) = salt;
  }
  // Another frame holds the same as this one.
  void set_double(std::uint64_t frame) noexcept { salt_of(frame) |= kDouble; }
  bool is_double(std::uint64_t frame) const noexcept { return (salt_of(frame) & kDouble) != 0; }
  // One reference more, if the frame has one still, and is of that salt.
  bool try_hold(std::uint64_t frame, std::uint32_t salt) noexcept {
    if (frame >= store_.capacity() || !store_.try_hold(frame)) return false;
    if ((salt_of(frame) & ~kDouble) == salt) return true;
    static_cast<void>(store_.release({frame, 1}));
    return false;
  }
  // Who has such a page next finds the frame, of which somebody has a reference meanwhile.
  void note(std::uint64_t frame, const PageKeys& keys) noexcept {
    const auto key = keys.key_of(store_.bytes(frame)) & key_mask_;
    const auto known = table_.find(key);
    if (!known) table_.add_shared(key, frame);
    else if (!known->shared) table_.replace(key, *known, {true, frame});
  }

 private:
  static constexpr std::uint32_t kDouble = 1U << 31;  // no salt has such a number

  FrameNotes(FrameStore& store, ShareTable& table, std::uint64_t key_mask, os::Mapping salts) noexcept
      : store_(store), table_(table), key_mask_(key_mask), salts_(std::move(salts)) {}
  std::uint32_t& salt_of(std::uint64_t frame) const noexcept {
    return reinterpret_cast<std::uint32_t*>(salts_.data())[frame];
  }

  FrameStore& store_;
  ShareTable& table_;
  const std::uint64_t key_mask_;
  os::Mapping salts_;
};

}  // namespace vmm::sharing
