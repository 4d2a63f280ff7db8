// What went wrong, in words for the user: what was tried with which value, and what to do about it.
// Thread-safety: plain values.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace vmmctl {

enum class FailureKind {
  gone,       // nobody listens on the socket, or it is not there
  denied,     // the socket, or the verb, is not permitted
  slow,       // no whole answer within the time
  garbage,    // an answer that is none
  refused,    // the host says no
  usage,      // what was asked for makes no sense
  cancelled,  // a signal came
  system,     // anything else the system refuses
};

struct Failure {
  FailureKind kind = FailureKind::system;
  std::string what;
  std::string remedy = {};

  std::string message() const {
    if (remedy.empty()) return what;
    // After a list it has a line of its own.
    return what.find('\n') == std::string::npos ? what + " (" + remedy + ")" : what + "\n" + remedy;
  }
};

template <class T>
using Result = tl::expected<T, Failure>;

inline tl::unexpected<Failure> fail(FailureKind kind, std::string what, std::string remedy = {}) {
  return tl::unexpected<Failure>(Failure{kind, std::move(what), std::move(remedy)});
}

}  // namespace vmmctl
