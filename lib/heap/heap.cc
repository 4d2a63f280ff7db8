// The public handle Heap, and the driver that it gives out.
#include "vmm/heap.h"

#include <new>
#include <utility>

#include "base/error.h"
#include "heap/heap_core.h"
#include "host/fork_guard.h"

namespace vmm {
namespace {

// Outlives its heap, and then gives nothing.
class HeapBalloon final : public BalloonDriver {
 public:
  explicit HeapBalloon(std::weak_ptr<HeapCore> core) noexcept : core_(std::move(core)) {}

  std::vector<BalloonRange> inflate(std::uint64_t bytes) override {
    const auto core = core_.lock();
    return core == nullptr ? std::vector<BalloonRange>() : core->inflate(bytes);
  }
  void deflate(const std::vector<BalloonRange>& ranges) override {
    if (const auto core = core_.lock()) core->deflate(ranges);
  }

 private:
  const std::weak_ptr<HeapCore> core_;
};

// The handle stays as it is while on_pressure, which may use it, is waited for.
void end(std::shared_ptr<HeapCore>& core) noexcept {
  if (core == nullptr) return;
  if (core->in_child()) {
    host::abandon(core);
    return;
  }
  core->end();
}

}  // namespace

Result<Heap> Heap::create(Guest& guest, const HeapOptions& options) {
  auto core = HeapCore::create(guest, options);
  if (!core) return tl::unexpected(core.error());
  return Heap(std::move(*core));
}

Heap::Heap() noexcept = default;
Heap::Heap(std::shared_ptr<HeapCore> core) noexcept : core_(std::move(core)) {}
Heap::Heap(Heap&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
Heap& Heap::operator=(Heap&& other) noexcept {
  if (this != &other) {
    end(core_);
    core_ = std::exchange(other.core_, nullptr);
  }
  return *this;
}

Heap::~Heap() { end(core_); }

void* Heap::allocate(std::size_t bytes, std::size_t alignment) noexcept {
  return core_ == nullptr ? nullptr : core_->allocate_bytes(bytes, alignment);
}

void Heap::free(void* memory) noexcept {
  if (core_ != nullptr) core_->free(memory);
}

std::size_t Heap::usable_size(const void* memory) const noexcept {
  return core_ == nullptr ? 0 : core_->usable_size(memory);
}

std::pmr::memory_resource& Heap::resource() noexcept {
  return core_ == nullptr ? *std::pmr::null_memory_resource() : *core_;
}

std::shared_ptr<BalloonDriver> Heap::balloon_driver() {
  return core_ == nullptr ? nullptr : std::make_shared<HeapBalloon>(core_);
}

void Heap::on_pressure(std::function<void(std::uint64_t)> callback) {
  if (core_ != nullptr) core_->on_pressure(std::move(callback));
}

HeapStats Heap::stats() const { return core_ == nullptr ? HeapStats() : core_->stats(); }

}  // namespace vmm
