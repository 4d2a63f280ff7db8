// What the files of the C interface (vmm/c.h) share: its handles, its errors, and how structs of other sizes than this
// library's come in and go out.
// Thread-safety: pure, but for the text of the last error, which each thread has of its own.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

#include "vmm/c.h"
#include "vmm/capabilities.h"
#include "vmm/guest.h"
#include "vmm/host.h"
#include "vmm/options.h"
#include "vmm/pool.h"
#include "vmm/result.h"

struct vmm_host {
  vmm::Host value;
};
struct vmm_guest {
  vmm::Guest value;
};
struct vmm_pin {
  vmm::Pin value;
};
struct vmm_seat {
  vmm::Seat value;
};
struct vmm_balloon_answer {
  std::vector<vmm::BalloonRange> ranges;
};
struct vmm_capabilities {
  vmm::Capabilities value;
};

namespace vmm::host::c {

// C's number of the value, for the checks of its constants.
template <class Enum>
constexpr bool same(Enum value, int c) {
  return static_cast<int>(value) == c;
}

// The errno that stands for the code in the C interface, positive.
int errno_of(const std::error_code& code) noexcept;

// Each remembers the text for vmm_last_error() and returns the negative errno. They allocate nothing of their own.
int fail(const Error& error) noexcept;
int fail(int number, const char* operation, const char* remedy) noexcept;
// A handle that is NULL.
int no_handle(const char* function) noexcept;
// `what` is NULL, and may not be.
int no_pointer(const char* function, const char* what) noexcept;

// The border where exceptions end.
template <class F>
int guarded(const char* function, F&& f) noexcept {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    return fail(ENOMEM, function, "free memory");
  } catch (const std::exception& e) {
    return fail(EIO, function, e.what());
  }
}

inline int done(const Result<void>& r) noexcept { return r ? 0 : fail(r.error()); }

// A new handle of what `r` has, in `*out`.
template <class Handle, class T>
int hand_out(Result<T> r, Handle** out) {
  if (!r) return fail(r.error());
  *out = new Handle{std::move(*r)};
  return 0;
}

// malloc'd, for vmm_free(). Errors: ENOMEM.
int copy_text(const char* function, const std::string& text, char** out) noexcept;

inline std::string text_of(const char* text) { return text == nullptr ? std::string() : std::string(text); }
Shares shares_of(std::uint64_t shares) noexcept;
// Of a C array. Errors: EINVAL (no array, or too long).
Result<std::vector<int>> nodes_of(const std::int32_t* nodes, std::size_t count);
// Errors: EINVAL (neither 0 nor 1), naming the field.
Result<void> check_flag(const char* field, std::uint32_t value);
// Errors: EINVAL (bits that are not among the known).
Result<void> check_set(const char* field, std::uint64_t set, std::uint64_t known);

// Whether a struct may have that size. Errors: EINVAL, E2BIG.
int check_size(const char* name, std::size_t size) noexcept;
// Whether [from, to) of the struct is zero. Errors: E2BIG.
int check_tail(const char* name, const void* given, std::size_t from, std::size_t to) noexcept;

// A struct that the caller gives, into one of this library's size that holds the defaults.
template <class S>
int take(const char* name, const S* given, S& own) noexcept {
  static_assert(std::is_trivially_copyable_v<S> && sizeof(S) % 8 == 0 && offsetof(S, size) == 0);
  if (given == nullptr) return no_pointer(name, "the struct");
  const std::size_t size = given->size;
  if (const int r = check_size(name, size); r != 0) return r;
  if (const int r = check_tail(name, given, sizeof(S), size); r != 0) return r;
  std::memcpy(&own, given, std::min(size, sizeof(S)));
  own.size = sizeof(S);
  return 0;
}

// Whether store() may fill it.
template <class S>
int check_room(const char* name, const S* out) noexcept {
  if (out == nullptr) return no_pointer(name, "the struct");
  return check_size(name, out->size);
}

// Fills a struct of `out->size` bytes; what this library does not know becomes zero.
template <class S>
void store(const S& own, S* out) noexcept {
  static_assert(std::is_trivially_copyable_v<S> && sizeof(S) % 8 == 0 && offsetof(S, size) == 0);
  const std::size_t size = out->size, known = std::min(size, sizeof(S));
  std::memcpy(static_cast<void*>(out), &own, known);
  std::memset(reinterpret_cast<char*>(out) + known, 0, size - known);
  out->size = size;
}

// vmm_..._init().
template <class S>
int init(const char* name, S* out, std::size_t size, const S& defaults) noexcept {
  if (out == nullptr) return no_pointer(name, "the struct");
  if (const int r = check_size(name, size); r != 0) return r;
  out->size = size;
  store(defaults, out);
  return 0;
}

// The defaults of C++ as C has them.
vmm_host_options default_host_options() noexcept;
vmm_guest_options default_guest_options() noexcept;
vmm_pool_options default_pool_options() noexcept;

// What a struct of C says, in C++'s words. Errors: EINVAL naming the field.
Result<HostOptions> to_options(const vmm_host_options& c);
Result<HostChange> to_change(const vmm_host_change& c);
Result<GuestOptions> to_options(const vmm_guest_options& c);
Result<GuestChange> to_change(const vmm_guest_change& c);
Result<PoolOptions> to_options(const vmm_pool_options& c);
Result<PoolChange> to_change(const vmm_pool_change& c);

}  // namespace vmm::host::c
