// Result<T>: a value, or an Error that says what failed, with which value, and what to do about it.
// Thread-safety: plain values. Nothing in this library throws by design.
#pragma once

#include <string>
#include <system_error>
#include <tl/expected.hpp>

#include "vmm/export.h"

namespace vmm {

// Failures that no errno names.
enum class Errc {
  forked_child = 1,    // a call in a child of fork(): the guest's memory is only in the parent
  inert_handle,        // a moved-from handle, or a guest whose host is gone
  already_attached,    // the thread already has a seat
  admission_refused,   // the host cannot keep its promises to one guest more
  pin_limit,           // more pinned memory than the limit allows
  page_lost,           // the page's only copy could not be read back
  pages_pinned,        // the operation would take a pinned page away from its device
  not_supported,       // the kernel or process lacks what the option asks for
  shutting_down,       // the host is being destroyed
};

// The category of Errc, named "vmm".
VMM_API const std::error_category& error_category() noexcept;
// An Errc as std::error_code; also by conversion: `error.code == vmm::Errc::pin_limit`.
inline std::error_code make_error_code(Errc e) noexcept { return {static_cast<int>(e), error_category()}; }

// What went wrong. Texts are English sentences without a final newline.
struct Error {
  std::error_code code;   // an Errc, or an errno (std::generic_category)
  std::string operation;  // the call or the option field, with its value
  std::string remedy;     // what the caller can do; may be empty

  // "operation: reason (remedy)". Allocates.
  std::string message() const {
    std::string text = operation + ": " + code.message();
    if (!remedy.empty()) text += " (" + remedy + ")";
    return text;
  }
};

// A value or an Error: `if (!result) use(result.error()); else use(*result);`.
template <class T>
using Result = tl::expected<T, Error>;

}  // namespace vmm

template <>
struct std::is_error_code_enum<vmm::Errc> : std::true_type {};
