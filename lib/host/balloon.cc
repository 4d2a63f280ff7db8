#include "host/balloon.h"

#include <utility>

#include "base/error.h"
#include "host/balloon_session.h"

namespace vmm {

BalloonDriver::~BalloonDriver() = default;

}  // namespace vmm

namespace vmm::host {

std::shared_ptr<BalloonSession> Balloon::session() const noexcept {
  base::MutexLock lock(mutex_);
  return session_;
}

Result<std::shared_ptr<BalloonDriver>> Balloon::set_driver(const std::shared_ptr<BalloonDriver>& driver) {
  std::shared_ptr<BalloonSession> fresh;
  if (driver != nullptr) {
    auto started = BalloonSession::start(guest_, driver);
    if (!started) return tl::unexpected(started.error());
    fresh = std::move(*started);
  }
  std::shared_ptr<BalloonSession> former;
  bool ended = false;
  {
    base::MutexLock lock(mutex_);
    ended = ended_;
    if (!ended) {
      former = std::exchange(session_, fresh);
      ++replacing_;
    }
  }
  if (ended) {
    if (fresh != nullptr) fresh->end(BalloonSession::Why::guest_ends);
    return base::fail(Errc::inert_handle, "setting a balloon driver", "the guest or its host has ended");
  }
  auto was = former != nullptr ? former->end(BalloonSession::Why::replaced) : nullptr;
  {
    base::MutexLock lock(mutex_);
    --replacing_;
  }
  replaced_.notify_all();
  return was;
}

std::uint64_t Balloon::inflate(std::uint64_t pages, base::Nanos now) noexcept {
  const auto s = session();
  return s != nullptr ? s->inflate(pages, now) : 0;
}

bool Balloon::deflate(std::uint64_t pages, base::Nanos now) noexcept {
  const auto s = session();
  return s != nullptr && s->deflate(pages, now);
}

void Balloon::poll(base::Nanos now, base::Nanos timeout) noexcept {
  if (const auto s = session()) s->poll(now, timeout);
}

bool Balloon::has_driver() const noexcept { return session() != nullptr; }

bool Balloon::busy() const noexcept {
  const auto s = session();
  return s != nullptr && s->busy();
}

bool Balloon::distrusted(base::Nanos now) const noexcept {
  const auto s = session();
  return s != nullptr && s->distrusted(now);
}

bool Balloon::exhausted(base::Nanos now) const noexcept {
  const auto s = session();
  return s != nullptr && s->exhausted(now);
}

std::optional<BalloonNews> Balloon::take_news() {
  const auto s = session();
  return s != nullptr ? s->take_news() : std::nullopt;
}

std::shared_ptr<BalloonDriver> Balloon::end() noexcept {
  std::shared_ptr<BalloonSession> last;
  {
    base::MutexLock lock(mutex_);
    ended_ = true;
    last = std::exchange(session_, nullptr);
    // A session that is being replaced may still have the guest's pages in hand.
    while (replacing_ > 0) replaced_.wait(mutex_);
  }
  return last != nullptr ? last->end(BalloonSession::Why::guest_ends) : nullptr;
}

}  // namespace vmm::host
