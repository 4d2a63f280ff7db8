// Hosts and guests for comparisons: an error is an exception with its message.
// Thread-safety: one thread.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "support/memory.h"
#include "vmm/vmm.h"

namespace vmm::bench {

template <class T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

inline Host make_host(const HostOptions& options) { return value_of(Host::create(options)); }

// All of the guest's memory is reserved unless `swap`, so that it has no swap file.
inline Guest make_guest(Host& host, std::uint64_t bytes, Pages pages, bool swap = false) {
  GuestOptions options;
  options.name = std::string("bench-") + (pages == Pages::huge ? "huge" : "small");
  options.memory = bytes;
  options.reservation = swap ? 0 : bytes;
  options.large_pages = pages == Pages::huge;
  return value_of(host.create_guest(options));
}

inline void discard_all(Guest& guest) { value_of(guest.discard(0, guest.memory().size())); }

}  // namespace vmm::bench
