// ForkGuard: knows whether this is a child of fork(), where the guests' memory and the library's threads do not
// exist: one page that the kernel wipes in children.
// Thread-safety: in_child() may be called from any thread; it reads one byte.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include "base/error.h"
#include "os/mapping.h"
#include "vmm/units.h"

namespace vmm::host {

class ForkGuard {
 public:
  // Errors: ENOMEM, EINVAL (before Linux 4.14).
  static Result<ForkGuard> create() {
    auto page = os::Mapping::anonymous(kPageSize);
    if (!page) return tl::unexpected(page.error());
    if (const int e = os::wipe_in_children(page->data(), page->size()))
      return base::fail_errno(e, "madvise(MADV_WIPEONFORK)", "Linux 4.14 or newer is needed");
    *page->data() = std::byte{1};
    ForkGuard guard;
    guard.page_ = std::move(*page);
    return guard;
  }
  bool in_child() const noexcept { return *const_cast<const volatile std::byte*>(page_.data()) != std::byte{1}; }

 private:
  os::Mapping page_;
};

// Lets go of a share in a child without ending what it holds, which is the parent's. Needs no memory.
template <class T>
void abandon(std::shared_ptr<T>& share) noexcept {
  alignas(std::shared_ptr<T>) thread_local std::byte place[sizeof(std::shared_ptr<T>)];
  new (place) std::shared_ptr<T>(std::move(share));  // never destroyed
}

}  // namespace vmm::host
