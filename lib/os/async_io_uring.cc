#include <liburing.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <new>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "os/async_io_backends.h"
#include "os/call.h"
#include "os/poller.h"

namespace vmm::os::internal {
namespace {

// A submission that the kernel has no memory for is tried again this often before its requests fail.
constexpr int kSubmitRetries = 3;

class UringIo final : public AsyncIo {
 public:
  UringIo(unsigned depth, const io_uring& ring, Doorbell bell) noexcept
      : depth_(depth), creator_(::getpid()), ring_(ring), bell_(std::move(bell)), free_count_(depth) {
    for (unsigned i = 0; i < depth; ++i) free_[i] = static_cast<std::uint16_t>(i);
  }

  ~UringIo() override {
    // A fork's child shares the ring with its parent: it takes no completion away from it.
    std::array<IoCompletion, 32> lost;
    while (::getpid() == creator_ && reap(lost, true) > 0) {
    }
    ::io_uring_queue_exit(&ring_);
  }

  bool submit(const IoRequest& request) noexcept override {
    if (in_flight_ == depth_) return false;
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
    VMM_CHECK(sqe != nullptr);  // the ring has at least `depth` entries
    const std::uint16_t slot = free_[--free_count_];
    slots_[slot] = {request.tag, request.op};
    if (request.op == IoOp::read) {
      ::io_uring_prep_read(sqe, request.fd, request.buffer, request.bytes, request.offset);
    } else {
      ::io_uring_prep_write(sqe, request.fd, request.buffer, request.bytes, request.offset);
    }
    ::io_uring_sqe_set_data64(sqe, slot);
    ++in_flight_;
    return true;
  }

  void flush() noexcept override {
    int failures = 0;
    while (::io_uring_sq_ready(&ring_) > 0) {
      const int started = call(Call::uring_submit, [&] {
        const int result = ::io_uring_submit(&ring_);
        if (result >= 0) return result;
        errno = -result;
        return -1;
      });
      if (started > 0) continue;
      const int error = started < 0 ? errno : EAGAIN;
      if (base::may_pass(error) && ++failures <= kSubmitRetries) continue;
      refuse_queued(error);
    }
  }

  std::size_t reap(std::span<IoCompletion> out, bool wait) noexcept override {
    if (wait) flush();
    std::size_t count = take(out);
    while (count == 0 && wait && in_flight_ > 0 && !out.empty()) {
      wait_for_completion();
      count = take(out);
    }
    if (rung_ && refused_count_ == 0) {
      bell_.clear();
      rung_ = false;
    }
    return count;
  }

  // The ring itself: an eventfd registered with it would have to be read at each completion.
  EventFds event_fds() const noexcept override { return {ring_.ring_fd, bell_.fd()}; }
  unsigned in_flight() const noexcept override { return in_flight_; }
  Backend backend() const noexcept override { return Backend::io_uring; }

 private:
  struct Slot {
    std::uint64_t tag;
    IoOp op;
  };

  std::uint64_t free_slot(std::uint64_t slot) noexcept {
    free_[free_count_++] = static_cast<std::uint16_t>(slot);
    return slots_[slot].tag;
  }

  // Takes the requests that the kernel did not accept back out of the ring and completes them with the error.
  // Without IORING_SETUP_SQPOLL the kernel reads the tail only inside io_uring_enter, so it may be set back.
  void refuse_queued(int error) noexcept {
    io_uring_sq& sq = ring_.sq;
    const unsigned accepted = io_uring_smp_load_acquire(sq.khead);
    for (unsigned i = accepted; i != sq.sqe_tail; ++i)
      refused_[refused_count_++] = {free_slot(sq.sqes[i & sq.ring_mask].user_data), -error};
    sq.sqe_head = sq.sqe_tail = accepted;
    io_uring_smp_store_release(sq.ktail, accepted);
    bell_.ring();
    rung_ = true;
  }

  std::size_t take(std::span<IoCompletion> out) noexcept {
    std::size_t count = 0;
    while (count < out.size() && refused_count_ > 0) out[count++] = refused_[--refused_count_];
    unsigned head = 0;
    unsigned seen = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      if (count == out.size()) break;
      const auto slot = ::io_uring_cqe_get_data64(cqe);
      const int error = injected_failure(slots_[slot].op == IoOp::read ? Call::uring_read : Call::uring_write);
      out[count++] = {free_slot(slot), error != 0 ? -error : cqe->res};
      ++seen;
    }
    ::io_uring_cq_advance(&ring_, seen);
    in_flight_ -= static_cast<unsigned>(count);
    return count;
  }

  void wait_for_completion() noexcept {
    const int result = call(Call::uring_submit, [&] {
      io_uring_cqe* cqe = nullptr;
      const int waited = ::io_uring_wait_cqe(&ring_, &cqe);
      if (waited == 0) return 0;
      errno = -waited;
      return -1;
    });
    if (result == 0 || errno == EINTR) return;
    // io_uring_enter is refused; the ring tells of completions through poll too.
    pollfd ring{ring_.ring_fd, POLLIN, 0};
    ::poll(&ring, 1, 100);
  }

  const unsigned depth_;
  const pid_t creator_;
  io_uring ring_;
  Doorbell bell_;  // rings while there are refused requests
  bool rung_ = false;
  unsigned in_flight_ = 0;
  std::array<Slot, kMaxDepth> slots_;          // of requests queued or started; index = user_data
  std::array<std::uint16_t, kMaxDepth> free_;  // stack of the slots not in use
  unsigned free_count_;
  std::array<IoCompletion, kMaxDepth> refused_;  // stack of requests that were never started
  unsigned refused_count_ = 0;
};

// -1 with errno set, as system calls do.
int as_call(int negative_errno) noexcept {
  if (negative_errno >= 0) return negative_errno;
  errno = -negative_errno;
  return -1;
}

tl::unexpected<Error> setup_failed(int error, const char* operation) {
  return base::fail_errno(error, operation,
                          "allow io_uring (kernel.io_uring_disabled, seccomp profile), raise RLIMIT_NOFILE, or use "
                          "the thread back end");
}

}  // namespace

Result<std::unique_ptr<AsyncIo>> create_uring_io(unsigned depth) {
  auto bell = Doorbell::create();
  if (!bell) return tl::unexpected<Error>(bell.error());
  io_uring ring{};
  if (call(Call::uring_setup, [&] { return as_call(::io_uring_queue_init(depth, &ring, 0)); }) < 0)
    return setup_failed(errno, "io_uring_setup");
  std::unique_ptr<AsyncIo> io(new (std::nothrow) UringIo(depth, ring, std::move(*bell)));
  if (!io) {
    ::io_uring_queue_exit(&ring);
    return base::fail_errno(ENOMEM, "AsyncIo over io_uring", "free memory in this process");
  }
  return io;
}

}  // namespace vmm::os::internal
