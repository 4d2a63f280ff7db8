#include "support/bare_sharing.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "os/drop_list.h"
#include "os/mapping.h"
#include "os/memory_file.h"
#include "os/userfaultfd.h"
#include "support/hosts.h"
#include "support/measure.h"
#include "support/memory.h"
#include "vmm/units.h"

namespace vmm::bench {
namespace {

constexpr std::uint64_t kBatch = 256;  // neighbours at once

void check(int error, const char* call) {
  if (error != 0) throw std::runtime_error(std::string(call) + ": " + std::strerror(error));
}

// Memory as a guest's, and what is taken out of it.
struct Side {
  explicit Side(std::uint64_t pages)
      : memory(value_of(os::Mapping::guarded(pages * kPageSize))),
        staging(value_of(os::Mapping::guarded(pages * kPageSize))) {
    os::UffdFeatures move;
    move.move = true;
    uffd = value_of(os::Userfaultfd::open(move));
    staging_uffd = value_of(os::Userfaultfd::open(move));
    for (const auto* mapping : {&memory, &staging}) os::advise_huge_pages(mapping->data(), mapping->size(), false);
    check(os::populate_for_write(memory.data(), memory.size()), "MADV_POPULATE_WRITE");
    check(uffd.register_range(memory.data(), memory.size(), false), "UFFDIO_REGISTER");
    check(staging_uffd.register_range(staging.data(), staging.size(), false), "UFFDIO_REGISTER");
  }
  void take_out(std::uint64_t page, std::uint64_t count) const {
    const auto at = page * kPageSize;
    check(staging_uffd.move(staging.data() + at, memory.data() + at, count * kPageSize).error, "UFFDIO_MOVE");
  }
  void show(std::uint64_t page, const os::Mapping& frames, std::uint64_t frame, std::uint64_t count,
            os::DropList& staged) const {
    auto* const place = memory.data() + page * kPageSize;
    check(frames.copy_onto(place, frame * kPageSize, count * kPageSize), "mremap");
    check(uffd.wake(place, count * kPageSize), "UFFDIO_WAKE");
    staged.add(staging.data() + page * kPageSize, count * kPageSize);
  }

  os::Mapping memory, staging;
  os::Userfaultfd uffd, staging_uffd;
};

}  // namespace

double bare_sharing_seconds(std::uint64_t pages, std::uint64_t run) {
  const Side first(pages), second(pages);
  const auto file = value_of(os::MemoryFile::create("bare-sharing", pages * kPageSize));
  const auto frames = value_of(os::Mapping::private_template(file.fd(), pages * kPageSize));
  const auto order = shuffled(pages, 1, run);
  os::DropList staged;
  const double begin = cpu_seconds(RUSAGE_THREAD);
  for (std::uint64_t batch = 0; batch < pages; batch += kBatch) {
    const auto count = std::min(kBatch, pages - batch);
    second.take_out(batch, count);
    for (std::uint64_t i = 0; i < count; i += run) first.take_out(order[(batch + i) / run], run);
    check(file.write(batch * kPageSize, second.staging.data() + batch * kPageSize, count * kPageSize), "pwrite");
    for (std::uint64_t i = 0; i < count; i += run) first.show(order[(batch + i) / run], frames, batch + i, run, staged);
    second.show(batch, frames, batch, count, staged);
    staged.drop();
  }
  return cpu_seconds(RUSAGE_THREAD) - begin;
}

PagesByThemselves::PagesByThemselves(std::uint64_t pages)
    : file_(value_of(os::MemoryFile::create("bare-sharing", pages * kPageSize))),
      frames_(value_of(os::Mapping::private_template(file_.fd(), pages * kPageSize))),
      memory_(value_of(os::Mapping::guarded(pages * kPageSize))) {
  std::vector<std::byte> bytes(pages * kPageSize);
  fill_incompressible(bytes, 1);
  check(file_.write(0, bytes.data(), bytes.size()), "pwrite");
  // With a page of its own, for a moment, it has what each copy would have to be given by the first write there.
  check(os::populate_for_write(frames_.data(), kPageSize), "MADV_POPULATE_WRITE");
  check(os::drop_pages(frames_.data(), kPageSize), "MADV_DONTNEED");
  const auto order = shuffled(pages, 2);
  for (std::uint64_t i = 0; i < pages; ++i)
    check(frames_.copy_onto(memory_.data() + order[i] * kPageSize, i * kPageSize, kPageSize), "mremap");
}

}  // namespace vmm::bench
