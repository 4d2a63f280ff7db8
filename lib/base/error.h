// Short ways to make the Error of a failed call, and what an errno means.
// Thread-safety: pure; what makes an Error allocates, so fault threads do not use it.
#pragma once

#include <cerrno>
#include <string>
#include <utility>

#include "vmm/result.h"

namespace vmm::base {

inline tl::unexpected<Error> fail(Errc code, std::string operation, std::string remedy) {
  return tl::unexpected<Error>(Error{make_error_code(code), std::move(operation), std::move(remedy)});
}

// `number` is an errno.
inline tl::unexpected<Error> fail_errno(int number, std::string operation, std::string remedy = {}) {
  return tl::unexpected<Error>(
      Error{std::error_code(number, std::generic_category()), std::move(operation), std::move(remedy)});
}

inline tl::unexpected<Error> invalid(std::string field_and_value, std::string remedy) {
  return fail_errno(EINVAL, std::move(field_and_value), std::move(remedy));
}

// A lack of the moment: the same call may succeed soon.
constexpr bool may_pass(int number) noexcept {
  return number == EAGAIN || number == EINTR || number == ENOMEM || number == EBUSY;
}

}  // namespace vmm::base
