#include "page_sharing/sharing.h"

#include <sys/resource.h>

#include <string_view>

#include "vmm/vmm.h"

namespace page_sharing {
namespace {

std::uint64_t whole_pages(std::uint64_t bytes) {
  return (bytes + vmm::kPageSize - 1) / vmm::kPageSize * vmm::kPageSize;
}

// Of the process, all threads.
double processor_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::uint64_t digest(std::span<const std::byte> memory) {
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(memory.data()), memory.size()});
}

// What a host may have that takes all of the machine.
vmm::Result<std::uint64_t> room() {
  vmm::HostOptions options;
  options.scheduler = vmm::Scheduler::manual;
  const auto host = vmm::Host::create(options);
  if (!host) return tl::unexpected(host.error());
  const auto stats = host->stats();
  if (!stats) return tl::unexpected(stats.error());
  return stats->free;
}

// So much that memory is never short: a quarter more than guests have, and what the library has for itself.
vmm::Result<std::uint64_t> enough_for(std::span<const Image> images) {
  std::uint64_t bytes = 0;
  for (const auto& image : images) bytes += whole_pages(image.bytes);
  const auto enough = bytes + bytes / 4 + 64 * vmm::MiB;
  auto most = room();
  if (!most) return most;
  if (enough <= *most) return enough;
  return tl::unexpected(vmm::Error{std::make_error_code(std::errc::not_enough_memory),
                                   "images of " + std::to_string(bytes / vmm::MiB) + " MiB together, which take " +
                                       std::to_string(enough / vmm::MiB) + " where " +
                                       std::to_string(*most / vmm::MiB) + " are free",
                                   "give fewer or smaller files, or --memory: guests are swapped then"});
}

vmm::Result<vmm::Host> make_host(const Settings& settings, std::span<const Image> images) {
  vmm::HostOptions options;
  options.memory = settings.memory;
  if (options.memory == 0) {
    const auto enough = enough_for(images);
    if (!enough) return tl::unexpected(enough.error());
    options.memory = *enough;
  }
  options.swap_directory = settings.swap_directory;
  options.management = vmm::Management::at_creation;
  options.share_scan_ghz = 4;
  options.share_scan_time = std::chrono::hours(24);  // nothing but what is asked for
  return vmm::Host::create(options);
}

vmm::Result<vmm::Guest> make_guest(vmm::Host& host, const Settings& settings, const Image& image, std::size_t number) {
  vmm::GuestOptions options;
  options.name = std::to_string(number) + ":" + image.name;
  options.memory = whole_pages(image.bytes);
  if (settings.memory == 0) options.reservation = options.memory;  // no swap file
  options.large_pages = settings.large_pages;
  options.share_salt = "images";
  auto guest = host.create_guest(options);
  if (!guest) return guest;
  if (auto loaded = image.load(guest->memory()); !loaded) return tl::unexpected(loaded.error());
  return guest;
}

// Looks at everything twice: what guests have of common pages is told by the second look.
vmm::Result<void> share(vmm::Host& host, Outcome& outcome) {
  outcome.before = smaps::rollup();
  const double begin = processor_seconds();
  if (const auto report = host.share_now(); !report) return tl::unexpected(report.error());
  outcome.first_look = processor_seconds() - begin;
  if (const auto again = host.share_now(); !again) return tl::unexpected(again.error());
  outcome.second_look = processor_seconds() - begin - outcome.first_look;
  const auto stats = host.stats();
  if (!stats) return tl::unexpected(stats.error());
  outcome.host = *stats;
  return {};
}

}  // namespace

vmm::Result<Outcome> share_images(const Settings& settings, std::span<const Image> images) {
  auto host = make_host(settings, images);
  if (!host) return tl::unexpected(host.error());
  std::vector<vmm::Guest> guests;
  std::vector<std::uint64_t> digests;
  Outcome outcome;
  {
    DistinctPages all;
    for (const auto& image : images) {
      auto guest = make_guest(*host, settings, image, guests.size() + 1);
      if (!guest) return tl::unexpected(guest.error());
      guests.push_back(std::move(*guest));
      const std::span<const std::byte> memory = guests.back().memory();
      DistinctPages alone;
      alone.add(memory);
      all.add(memory);
      outcome.guests.push_back({{}, alone.count(), false});
      digests.push_back(digest(memory));
    }
    outcome.held = all.count();
  }
  if (auto shared = share(*host, outcome); !shared) return tl::unexpected(shared.error());
  for (std::size_t i = 0; i < guests.size(); ++i) {
    const auto stats = guests[i].stats();
    if (!stats) return tl::unexpected(stats.error());
    outcome.guests[i].stats = *stats;
    outcome.guests[i].intact = digest(guests[i].memory()) == digests[i];
  }
  // What guests have not read since it is shared is in no page table, and would not count.
  outcome.after = smaps::rollup();
  return outcome;
}

}  // namespace page_sharing
