#include "vmm/page_list_driver.h"

#include <new>
#include <utility>

#include "base/error.h"
#include "base/mutex.h"
#include "host/page_list.h"
#include "vmm/units.h"

namespace vmm {

using State = host::PageList::State;

struct PageListDriver::Impl {
  explicit Impl(std::function<void(std::uint64_t)> pressure) : on_pressure(std::move(pressure)) {}

  const std::function<void(std::uint64_t)> on_pressure;
  base::Mutex mutex{base::LockRank::leaf};
  host::PageList list VMM_GUARDED_BY(mutex);

  std::uint64_t bytes(State state) {
    base::MutexLock lock(mutex);
    return list.bytes(state);
  }
};

namespace {

bool whole(std::uint64_t offset, std::uint64_t bytes) noexcept {
  return offset % kPageSize == 0 && bytes % kPageSize == 0 && bytes > 0 && bytes <= ~std::uint64_t{0} - offset;
}

}  // namespace

PageListDriver::PageListDriver(std::function<void(std::uint64_t bytes)> on_pressure)
    : impl_(new Impl(std::move(on_pressure))) {}

PageListDriver::~PageListDriver() = default;

Result<void> PageListDriver::add_free(std::uint64_t offset, std::uint64_t bytes) {
  if (!whole(offset, bytes))
    return base::invalid("add_free: offset = " + std::to_string(offset) + ", bytes = " + std::to_string(bytes),
                         "give multiples of 4096, and at least one page");
  base::MutexLock lock(impl_->mutex);
  try {
    impl_->list.add(offset, offset + bytes);
  } catch (const std::bad_alloc&) {
    return base::fail_errno(ENOMEM, "add_free", "free memory in this process");
  }
  return {};
}

bool PageListDriver::take(std::uint64_t offset, std::uint64_t bytes) {
  if (!whole(offset, bytes)) return false;
  base::MutexLock lock(impl_->mutex);
  try {
    return impl_->list.take(offset, offset + bytes);
  } catch (const std::bad_alloc&) {
    return false;
  }
}

std::optional<std::uint64_t> PageListDriver::allocate(std::uint64_t bytes) {
  if (!whole(0, bytes)) return std::nullopt;
  base::MutexLock lock(impl_->mutex);
  const auto offset = impl_->list.find(bytes);
  try {
    if (offset && impl_->list.take(*offset, *offset + bytes)) return offset;
  } catch (const std::bad_alloc&) {
  }
  return std::nullopt;
}

std::uint64_t PageListDriver::free_bytes() const { return impl_->bytes(State::free); }

std::uint64_t PageListDriver::given_bytes() const { return impl_->bytes(State::given); }

std::vector<BalloonRange> PageListDriver::inflate(std::uint64_t bytes) {
  const auto free = impl_->bytes(State::free);
  if (free < bytes && impl_->on_pressure) impl_->on_pressure(bytes - free);
  base::MutexLock lock(impl_->mutex);
  impl_->list.settle();
  return impl_->list.leave(bytes);
}

void PageListDriver::deflate(const std::vector<BalloonRange>& ranges) {
  base::MutexLock lock(impl_->mutex);
  // Pages that have been taken meanwhile are not in the list, and are the application's as they are.
  try {
    for (const auto& range : ranges) impl_->list.come_back(range.offset, range.offset + range.bytes);
  } catch (const std::bad_alloc&) {
    // They count as given, as which they may be used.
  }
  impl_->list.settle();
}

}  // namespace vmm
