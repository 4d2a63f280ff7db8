#include "guest_inside.h"

#include <memory>

namespace vmm::run {
namespace {

// Guest shows its core to nobody; an explicit instantiation may name it all the same.
template <std::shared_ptr<GuestCore> Guest::*Member>
struct CoreOf {
  friend GuestCore& core_of(Guest& guest) noexcept { return *(guest.*Member); }
};
GuestCore& core_of(Guest& guest) noexcept;
template struct CoreOf<&Guest::core_>;

}  // namespace

GuestCore& guest_core() noexcept { return core_of(ProgramMemory::guest()); }

region::GuestMemory& guest_inside() noexcept { return guest_core().memory(); }

}  // namespace vmm::run
