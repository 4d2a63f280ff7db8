#include "clock.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace vmmctl {

Result<Signals> Signals::create() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) == 0) {
    Descriptor fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (fd.valid()) return Signals(std::move(fd));
  }
  return fail(FailureKind::system, "signalfd: " + std::generic_category().message(errno));
}

bool Signals::any() const {
  pollfd waited{fd_.get(), POLLIN, 0};
  return ::poll(&waited, 1, 0) > 0;
}

bool Ticker::wait(int descriptor) {
  for (;;) {
    const auto now = Clock::now();
    if (now >= next_) {
      while (next_ <= now) next_ += interval_;
      return true;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_ - now).count();
    pollfd waited{descriptor, POLLIN, 0};
    if (::poll(&waited, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000))) > 0) return false;
  }
}

std::int64_t wall_time_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

}  // namespace vmmctl
