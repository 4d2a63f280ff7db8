#include "top.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>

#include "fetcher.h"
#include "screen.h"
#include "top_model.h"

namespace vmmctl {
namespace {

// With several hosts and none named there is a list to choose from.
Result<TopState> first_state(const TopOptions& options) {
  TopState state;
  state.charset = terminal_charset();
  state.interval = options.interval;
  const char* named = std::getenv("VMM_SOCKET");
  if (options.socket.empty() && (named == nullptr || *named == '\0')) {
    state.hosts = find_hosts();
    auto socket = choose_socket("", state.hosts);
    if (socket) {
      state.socket = *socket;
    } else if (state.hosts.size() > 1) {
      state.view = View::hosts;
    } else {
      return tl::unexpected(socket.error());
    }
    return state;
  }
  auto socket = resolve_socket(options.socket);
  if (!socket) return tl::unexpected(socket.error());
  state.socket = *socket;
  return state;
}

}  // namespace

Result<void> top(const TopOptions& options) {
  auto first = first_state(options);
  if (!first) return tl::unexpected(first.error());
  TopModel model(std::move(*first));
  auto screen = Screen::create();
  if (!screen) return tl::unexpected(screen.error());
  sigset_t resizes, with_resizes;
  ::sigemptyset(&resizes);
  ::sigaddset(&resizes, SIGWINCH);
  ::pthread_sigmask(SIG_BLOCK, &resizes, &with_resizes);
  ::sigdelset(&with_resizes, SIGWINCH);

  std::unique_ptr<Fetcher> fetcher;
  const auto attach = [&]() -> Result<void> {
    auto made = Fetcher::create(model.state().socket, model.state().interval);
    if (!made) return tl::unexpected(made.error());
    fetcher = std::move(*made);
    return {};
  };
  if (model.state().view != View::hosts)
    if (auto attached = attach(); !attached) return attached;

  for (;;) {
    screen->show(model.state());
    std::array<pollfd, 2> waited{{{STDIN_FILENO, POLLIN, 0}, {fetcher ? fetcher->descriptor() : -1, POLLIN, 0}}};
    // A change of the terminal's size is a signal, let in only here: curses makes a key of it.
    if (::ppoll(waited.data(), waited.size(), nullptr, &with_resizes) < 0 && errno != EINTR)
      return fail(FailureKind::system, "poll fails on the terminal");
    if (waited[1].revents != 0) {
      for (auto& result : fetcher->take()) {
        if (result)
          model.apply(*result);
        else
          model.lost(result.error());
      }
    }
    bool any = false;
    while (const auto key = screen->key()) {
      any = true;
      switch (model.key(*key)) {
        case Action::none: break;
        case Action::quit: return {};
        case Action::ask_now: fetcher->ask_now(); break;
        case Action::interval: fetcher->set_interval(model.state().interval); break;
        case Action::attach:
          if (auto attached = attach(); !attached) return attached;
          break;
      }
    }
    // The terminal has gone away.
    if (!any && (waited[0].revents & (POLLHUP | POLLERR)) != 0) return {};
  }
}

}  // namespace vmmctl
