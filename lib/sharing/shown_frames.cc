#include "sharing/shown_frames.h"

#include <cstdint>
#include <thread>

#include "base/check.h"
#include "os/mapping.h"
#include "region/isolator.h"
#include "sharing/racy_bytes.h"

namespace vmm::sharing {
namespace {

using region::GuestMemory;

int errno_of(const Error& error) noexcept { return error.code.value(); }

// Has `put` put something in the place of pages of the guest. An errno, and then what was there is there still.
template <class Put>
int put_over(std::byte* place, std::uint64_t bytes, Put&& put) noexcept {
  for (;;) {
    const int e = put();
    if (e == 0 || os::is_mapped(place, bytes)) return e;
    // The kernel takes down what was there before it finds that it has no memory for what is to come: there is no way
    // back but to have it all the same.
    std::this_thread::yield();
  }
}

// What the guest reads there is in staging then. An errno; then staging is empty.
int copy_out(GuestMemory& guest, std::uint64_t first, std::uint64_t count) noexcept {
  const auto bytes = count * kPageSize;
  int error = 0;
  if (guest.options().move) {
    error = guest.staging_uffd().copy(guest.staged(first), guest.at(first), bytes, false).error;
  } else {
    copy_racy(guest.staged(first), guest.at(first), count);
  }
  if (error != 0) os::drop_pages(guest.staged(first), bytes);
  return error;
}

}  // namespace

Result<ShownFrames> ShownFrames::create() {
  os::UffdFeatures wanted;
  wanted.protect_files = true;
  auto fence = os::Userfaultfd::open(wanted);
  if (!fence) return tl::unexpected(fence.error());
  return ShownFrames(std::move(*fence));
}

int ShownFrames::show(GuestMemory& guest, std::uint64_t first, const FrameStore& store, FrameRun run) noexcept {
  const auto place = guest.at(first);
  const bool core_dump = guest.options().core_dump;
  if (const int e = put_over(place, run.count * kPageSize, [&] { return store.show(place, run, core_dump); })) return e;
  guest.wake(first, run.count);
  return 0;
}

int ShownFrames::hide(GuestMemory& guest, std::uint64_t first, std::uint64_t count) const {
  return take_out(guest, first, count, true);
}

int ShownFrames::drop(GuestMemory& guest, std::uint64_t first, std::uint64_t count) const {
  return take_out(guest, first, count, false);
}

int ShownFrames::take_out(GuestMemory& guest, std::uint64_t first, std::uint64_t count, bool keep) const {
  VMM_CHECK(count <= region::kMostTaken);
  const auto bytes = count * kPageSize;
  auto* const place = guest.at(first);
  const int home = guest.home();
  auto piece = os::Mapping::reserved(bytes);
  if (!piece) return errno_of(piece.error());
  if (const int e = guest.dress(*piece, home)) return e;
  if (const int e = os::make_accessible(piece->data(), bytes)) return e;
  if (const int e = guest.uffd().register_range(piece->data(), bytes, true)) return e;
  // mlockall(MCL_FUTURE) has filled it with zeros.
  if (const int e = os::drop_pages(piece->data(), bytes)) return e;
  int error = 0;
  if (keep) {
    error = fence_.register_writes(place, bytes);
    if (error == 0) error = fence_.write_protect(place, bytes, true);
    if (error == 0) error = copy_out(guest, first, count);
  }
  if (error == 0) {
    error = put_over(place, bytes, [&] { return piece->move_onto(place); });
    // What its home has changed to meanwhile was set for the guest as it was then. Should the kernel refuse, pages to
    // come are on the old home, and follow like others.
    if (error == 0 && guest.home() != home) static_cast<void>(guest.follow_home(first, count));
    if (error != 0 && keep) os::drop_pages(guest.staged(first), bytes);
  }
  if (!keep) return error;
  // Lets in who was held off: they find what is there now. What has been moved over is registered no more; what has not
  // must not stay protected, for nobody would let them in again.
  const auto until_done = [](auto&& call) {
    while (call() != 0) std::this_thread::yield();
  };
  if (error != 0) until_done([&] { return fence_.unregister_range(place, bytes); });
  until_done([&] { return fence_.wake(place, bytes); });
  return error;
}

}  // namespace vmm::sharing
