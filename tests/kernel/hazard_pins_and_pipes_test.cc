// Hazards 3 and 6a: memory that a device writes into stays in its place, and a page that came out of a guest is never
// used for another one.
#include <fcntl.h>
#include <liburing.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "os/file.h"
#include "support/host_rig.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"

namespace vmm {
namespace {

using os::FileDescriptor;
using test::fill_page;
using test::HostRig;
using test::NodeRig;
using test::page_at;
using test::wrong_page;

class PinsAndPipes : public test::BackEnds {
 protected:
  static bool moves() { return GetParam().isolation == Isolation::move; }
};
VMM_ALL_BACK_ENDS(PinsAndPipes);

constexpr std::uint64_t kDevice = 99;  // "guest" of the bytes that a device writes

struct Pipe {
  Pipe() {
    std::array<int, 2> fds{};
    EXPECT_EQ(::pipe2(fds.data(), O_CLOEXEC), 0);
    out = FileDescriptor(fds[0]);
    in = FileDescriptor(fds[1]);
  }
  FileDescriptor out, in;
};

// A read into a registered buffer, in flight until bytes come through a pipe.
class FixedRead {
 public:
  explicit FixedRead(std::byte* start, std::uint64_t bytes) : start_(start), bytes_(bytes) {
    EXPECT_EQ(::io_uring_queue_init(8, &ring_, 0), 0);
    const iovec buffer{start, bytes};
    EXPECT_EQ(::io_uring_register_buffers(&ring_, &buffer, 1), 0);
    submit();
  }
  ~FixedRead() { ::io_uring_queue_exit(&ring_); }

  bool in_flight() { return ::io_uring_cq_ready(&ring_) == 0; }
  // Sends the bytes, and waits until the read has got them all.
  void finish(const std::vector<std::byte>& bytes) {
    ASSERT_EQ(bytes.size(), bytes_);
    ASSERT_EQ(::write(pipe_.in.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    while (done_ < bytes_) {
      io_uring_cqe* cqe = nullptr;
      ASSERT_EQ(::io_uring_wait_cqe(&ring_, &cqe), 0);
      ASSERT_GT(cqe->res, 0);
      done_ += static_cast<std::uint64_t>(cqe->res);
      ::io_uring_cqe_seen(&ring_, cqe);
      if (done_ < bytes_) submit();
    }
  }

 private:
  void submit() {
    auto* sqe = ::io_uring_get_sqe(&ring_);
    ::io_uring_prep_read_fixed(sqe, pipe_.out.get(), start_ + done_, static_cast<unsigned>(bytes_ - done_), 0, 0);
    EXPECT_EQ(::io_uring_submit(&ring_), 1);
  }
  Pipe pipe_;
  io_uring ring_{};
  std::byte* const start_;
  const std::uint64_t bytes_;
  std::uint64_t done_ = 0;
};

std::vector<std::byte> device_bytes(std::uint64_t first, std::uint64_t pages, std::uint64_t version) {
  std::vector<std::byte> bytes(pages * kPageSize);
  for (std::uint64_t i = 0; i < pages; ++i) fill_page(bytes.data() + i * kPageSize, kDevice, first + i, version);
  return bytes;
}

TEST_P(PinsAndPipes, Hazard03_FixedBufferReadInFlightWhileEverythingIsReclaimed) {
  if (!probe().has("io_uring")) GTEST_SKIP() << "probe(): io_uring is missing";
  HostRig rig(GetParam());
  auto guest = rig.add("device", 64);
  test::fill_guest(guest, 1);
  constexpr std::uint64_t kFirst = 8, kCount = 8;
  Pin pin;
  if (!moves()) {
    // The kernel does not tell this way of isolation who has pinned what.
    auto pinned = guest.pin(kFirst * kPageSize, kCount * kPageSize);
    ASSERT_TRUE(pinned) << pinned.error().message();
    pin = std::move(*pinned);
  }
  {
    FixedRead read(page_at(guest, kFirst), kCount * kPageSize);
    EXPECT_TRUE(HostRig::reclaim_down_to(guest, kCount));
    ASSERT_TRUE(read.in_flight());
    const auto stats = *guest.stats();
    EXPECT_EQ(stats.resident, kCount * kPageSize);
    EXPECT_EQ(stats.swapped, (64 - kCount) * kPageSize);
    if (moves()) {
      EXPECT_GE(stats.busy_pages, kCount);
    }
    EXPECT_EQ(test::resident_pages(page_at(guest, kFirst), kCount), kCount);
    read.finish(device_bytes(kFirst, kCount, 5));
  }
  pin.release();
  EXPECT_TRUE(HostRig::reclaim_down_to(guest, 0));
  for (std::uint64_t page = 0; page < 64; ++page) {
    const bool device = page >= kFirst && page < kFirst + kCount;
    EXPECT_EQ(wrong_page(page_at(guest, page), device ? kDevice : 1, page, device ? 5 : 1), "") << page;
  }
}

TEST_P(PinsAndPipes, Hazard03_DirectReadsIntoAGuestThatIsReclaimedAllTheTime) {
  // Where pins are announced the pages are there, and the kernel meets no missing one.
  if (const auto why = test::unable_in_kernel(); !why.empty() && GetParam().isolation == Isolation::move)
    GTEST_SKIP() << why;
  test::TempDirectory directory;
  constexpr std::uint64_t kPages = 16, kVersions = 8, kFirst = 24;
  const FileDescriptor file(::open(directory.file("disk").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  for (std::uint64_t v = 0; v < kVersions; ++v) {
    const auto bytes = device_bytes(kFirst, kPages, v);
    ASSERT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(v * bytes.size())),
              static_cast<ssize_t>(bytes.size()));
  }
  const FileDescriptor direct(::open(directory.file("disk").c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (!direct.valid() && errno == EINVAL) GTEST_SKIP() << "no O_DIRECT in " << directory.path();
  ASSERT_TRUE(direct.valid());

  HostRig rig(GetParam());
  auto guest = rig.add("disk", 64);
  test::fill_guest(guest, 1);
  std::optional<Pin> pin;
  if (!moves()) {
    auto pinned = guest.pin(kFirst * kPageSize, kPages * kPageSize);
    ASSERT_TRUE(pinned) << pinned.error().message();
    pin = std::move(*pinned);
  }
  std::atomic<bool> over{false};
  std::thread reclaimer([&] {
    while (!over) {
      const auto r = guest.reclaim(64 * kPageSize);
      EXPECT_TRUE(r) << r.error().message();
    }
  });
  for (std::uint64_t i = 0; i < 400; ++i) {
    const auto version = i % kVersions;
    const auto got = ::pread(direct.get(), page_at(guest, kFirst), kPages * kPageSize,
                             static_cast<off_t>(version * kPages * kPageSize));
    EXPECT_EQ(got, static_cast<ssize_t>(kPages * kPageSize)) << errno;
    std::string wrong;
    for (auto page = kFirst; page < kFirst + kPages && wrong.empty(); ++page)
      wrong = wrong_page(page_at(guest, page), kDevice, page, version);
    EXPECT_EQ(wrong, "") << "read " << i;
    if (got < 0 || !wrong.empty()) break;
  }
  over = true;
  reclaimer.join();
  for (std::uint64_t page = 0; page < kFirst; ++page) EXPECT_EQ(wrong_page(page_at(guest, page), 1, page, 1), "");
}

TEST_P(PinsAndPipes, Hazard03_PinnedPagesStayUntilTheLastPinGoes) {
  HostRig rig(GetParam());
  auto guest = rig.add("pinned", 64);
  test::fill_guest(guest, 1);
  HostRig::reclaim_all(guest);
  // Pins bring the pages in, and overlapping ones add up.
  auto outer = guest.pin(8 * kPageSize, 16 * kPageSize);
  ASSERT_TRUE(outer) << outer.error().message();
  auto inner = guest.pin(12 * kPageSize, 4 * kPageSize);
  ASSERT_TRUE(inner) << inner.error().message();
  EXPECT_EQ(guest.stats()->pinned, 16 * kPageSize);
  EXPECT_TRUE(HostRig::reclaim_down_to(guest, 16));
  EXPECT_EQ(test::resident_pages(page_at(guest, 8), 16), 16u);
  EXPECT_EQ(guest.stats()->resident, 16 * kPageSize);
  outer->release();
  EXPECT_EQ(guest.stats()->pinned, 4 * kPageSize);
  EXPECT_TRUE(HostRig::reclaim_down_to(guest, 4));
  EXPECT_EQ(test::resident_pages(page_at(guest, 0), 64), 4u);
  EXPECT_EQ(test::resident_pages(page_at(guest, 12), 4), 4u);
  const auto refused = guest.discard(0, 64 * kPageSize);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::pages_pinned);
  inner->release();
  EXPECT_TRUE(HostRig::reclaim_down_to(guest, 0));
  EXPECT_EQ(test::resident_pages(page_at(guest, 0), 64), 0u);
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

// The kernel's reference in a pipe is no pin: the page leaves the guest, and the pipe goes on showing its bytes.
TEST_P(PinsAndPipes, Hazard06a_PageInAPipeNeverShowsAnotherGuest) {
  HostRig rig(GetParam());
  auto guest = rig.add("sender", 64);
  test::fill_guest(guest, 1);
  Pipe pipe;
  for (const std::uint64_t page : {std::uint64_t{3}, std::uint64_t{40}}) {
    const iovec part{page_at(guest, page), kPageSize};
    ASSERT_EQ(::vmsplice(pipe.in.get(), &part, 1, 0), static_cast<ssize_t>(kPageSize));
  }
  EXPECT_TRUE(HostRig::reclaim_down_to(guest, 0)) << "a pipe does not keep pages";
  EXPECT_EQ(test::resident_pages(guest.memory().data(), 64), 0u);
  // Others fill memory, leave it, and come back: whatever page was free has been used for them.
  for (std::uint64_t other = 2; other < 5; ++other) {
    auto tenant = rig.add("tenant" + std::to_string(other), 1024);
    test::fill_guest(tenant, other);
    HostRig::reclaim_all(tenant);
    EXPECT_EQ(test::wrong_in(tenant, other), "");
  }
  // Also its own guest's pages come back through other memory.
  EXPECT_EQ(test::wrong_in(guest, 1), "");
  HostRig::reclaim_all(guest);
  for (const std::uint64_t page : {std::uint64_t{3}, std::uint64_t{40}}) {
    alignas(8) std::array<std::byte, kPageSize> got;
    ASSERT_EQ(::read(pipe.out.get(), got.data(), got.size()), static_cast<ssize_t>(got.size()));
    EXPECT_EQ(wrong_page(got.data(), 1, page, 1), "");
  }
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

TEST_P(PinsAndPipes, Hazard06a_StagingIsEmptyOnceItsPagesHaveLeftOrGoneBack) {
  NodeRig rig(GetParam());
  auto& guest = rig.add();
  guest.fill();
  rig.park(guest);
  EXPECT_EQ(test::resident_pages(guest->staged(0), 256), 256u);
  EXPECT_EQ(test::resident_pages(guest.at(0), 256), 0u);
  // Half is rescued, half is written.
  EXPECT_EQ(guest.wrong(0, 128, 1), "");
  rig.settle(guest);
  EXPECT_EQ(test::resident_pages(guest->staged(0), 128), 0u);
  rig.write(guest);
  EXPECT_EQ(test::resident_pages(guest->staged(0), 256), 0u);
  EXPECT_EQ(guest->counters.staging.load(), 0u);
  EXPECT_EQ(guest.wrong(), "");
  rig.settle(guest);
  EXPECT_EQ(test::resident_pages(guest->staged(0), 256), 0u) << "pages come in through other memory";
}

}  // namespace
}  // namespace vmm
