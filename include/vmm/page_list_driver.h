// PageListDriver: a ready-made BalloonDriver for applications that allocate guest memory by themselves and know which
// pages are free: a virtual machine monitor whose guest reports free pages, a buffer pool, a page allocator.
//
// The list says which pages hold nothing that anybody needs. The host is given free pages, the highest first; the
// application gets the lowest first, and given ones only where no others are left. A given page is supplied anew, as
// zeros, when it is touched.
// Thread-safety: every function from any thread. Offsets and bytes count from the beginning of the guest's memory and
// are multiples of kPageSize.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "vmm/balloon.h"
#include "vmm/export.h"
#include "vmm/result.h"

namespace vmm {

// The list; it may outlive its guest.
class VMM_API PageListDriver final : public BalloonDriver {
 public:
  // on_pressure(bytes): the host wants memory, and so many bytes more than are free. Called on the host's thread, which
  // then gives what has been added with add_free() meanwhile. It may drop caches, trim pools, or do nothing.
  explicit PageListDriver(std::function<void(std::uint64_t bytes)> on_pressure = {});
  ~PageListDriver() override;
  PageListDriver(const PageListDriver&) = delete;
  PageListDriver& operator=(const PageListDriver&) = delete;

  // The pages hold nothing that is needed, and are not touched before they are taken or allocated. Those that are in
  // the list already stay as they are. Errors: EINVAL (not whole pages, or none), ENOMEM (part of it may be free then).
  Result<void> add_free(std::uint64_t offset, std::uint64_t bytes);

  // Takes the range out of the list, to be used. Its contents are undefined. False, and nothing is taken: part of it is
  // not in the list, or is on its way to the host at this moment, which takes milliseconds; try again then.
  bool take(std::uint64_t offset, std::uint64_t bytes);

  // Takes neighbouring pages out of the list. Returns their offset; none: there are not so many neighbours.
  std::optional<std::uint64_t> allocate(std::uint64_t bytes);

  std::uint64_t free_bytes() const;   // in the list and not given
  std::uint64_t given_bytes() const;  // in the list and given, as far as this list knows

  std::vector<BalloonRange> inflate(std::uint64_t bytes) override;
  void deflate(const std::vector<BalloonRange>& ranges) override;

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace vmm
