// Balloon: asks a guest's BalloonDriver for memory, on a thread of its own, so that nobody waits for a driver that
// hangs; checks what it answers, and whether memory has really come free.
//
// A driver that throws, does not answer in time, or three times in a row frees less than an eighth of what was asked
// is *distrusted*: not asked for a minute. One that frees less than half of it has no more: it is *exhausted*, and not
// asked for a second. Who asked then swaps. Time is told by the caller: the thread has no clock.
//
// Thread-safety: every function from any thread, also from inside the driver's own call; none waits for a driver. Not
// to be used in a child of fork(), which has no such thread. A driver that never returns keeps its thread, which
// holds the driver and nothing of the guest.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "host/balloon_guest.h"
#include "vmm/balloon.h"
#include "vmm/result.h"

namespace vmm::host {

class BalloonSession;

// Why the driver is distrusted from now on: "did not answer within 1000 ms", "threw: out of luck".
struct BalloonNews {
  std::string reason;
};

class Balloon {
 public:
  static constexpr base::Nanos kDistrusted = std::chrono::seconds(60);
  static constexpr base::Nanos kExhausted = std::chrono::seconds(1);
  static constexpr unsigned kMostFruitless = 3;  // answers in a row
  static constexpr unsigned kFruitlessPart = 8;  // of what was asked

  // The guest lives until end() has returned.
  explicit Balloon(BalloonGuest& guest) noexcept : guest_(guest) {}
  ~Balloon() { end(); }
  Balloon(const Balloon&) = delete;
  Balloon& operator=(const Balloon&) = delete;

  // nullptr: nobody. A new driver is trusted. The former one is called no more, but for a request that is under way:
  // what it answers is refused and told back. Returns the former one, to be let go of where neither a lock nor a gate
  // is held: its destructor may end guests. That may also run on the thread.
  // Errors: EAGAIN, ENOMEM (no thread; the former driver stays), Errc::inert_handle (after end()).
  Result<std::shared_ptr<BalloonDriver>> set_driver(const std::shared_ptr<BalloonDriver>& driver)
      VMM_EXCLUDES(mutex_);

  // Asks the driver for so many pages, fewer where the balloon has no more room. Does not wait. Returns how many were
  // asked for: 0 if there is no driver, or it is busy, distrusted or exhausted. For the host's threads.
  std::uint64_t inflate(std::uint64_t pages, base::Nanos now) noexcept;
  // Takes about so many pages back, those given last first, and tells the driver. Does not wait. False: no driver, or
  // it is busy.
  bool deflate(std::uint64_t pages, base::Nanos now) noexcept;
  // Judges the last answer, and whether a call takes longer than `timeout`. To be called while the balloon is busy,
  // and once after that, as often as lateness is to be noticed.
  void poll(base::Nanos now, base::Nanos timeout) noexcept;

  bool has_driver() const noexcept;
  // A request is under way: neither has its answer been dealt with, nor has the driver been told of it.
  bool busy() const noexcept;
  bool distrusted(base::Nanos now) const noexcept;
  bool exhausted(base::Nanos now) const noexcept;
  // What has happened since it was last called. Allocates.
  std::optional<BalloonNews> take_news();

  // Lets go of the guest for good. Waits for pages that are being given, not for a driver. Idempotent. Returns the
  // driver, as set_driver() does.
  std::shared_ptr<BalloonDriver> end() noexcept VMM_EXCLUDES(mutex_);

 private:
  std::shared_ptr<BalloonSession> session() const noexcept VMM_EXCLUDES(mutex_);

  BalloonGuest& guest_;
  mutable base::Mutex mutex_{base::LockRank::balloon};
  std::shared_ptr<BalloonSession> session_ VMM_GUARDED_BY(mutex_);  // one a driver
  int replacing_ VMM_GUARDED_BY(mutex_) = 0;  // sessions that are being ended for another
  base::CondVar replaced_;
  bool ended_ VMM_GUARDED_BY(mutex_) = false;
};

}  // namespace vmm::host
