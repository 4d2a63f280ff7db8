#include "sampler.h"

#include <utility>

namespace vmmctl {

Result<Sample> Sampler::next() {
  Sample sample;
  if (!known_) {
    const auto info = client_.info();
    if (!info) return tl::unexpected(info.error());
    sample.restarted = pid_ != 0 && (info->pid != pid_ || info->started_ns != started_ns_);
    pid_ = info->pid;
    started_ns_ = info->started_ns;
    known_ = true;
    if (sample.restarted) since_ = 0;
  }
  // Asked anew after any failure, for another may have taken its place meanwhile.
  known_ = false;
  auto stats = client_.stats();
  if (!stats) return tl::unexpected(stats.error());
  const auto snapshot = parse_snapshot(*stats);
  if (!snapshot) return tl::unexpected(snapshot.error());
  if (snapshot->pid != 0 && pid_ != 0 && snapshot->pid != pid_) {
    pid_ = snapshot->pid;
    since_ = 0;
    sample.restarted = true;
  }
  auto events = client_.events(since_);
  if (!events) return tl::unexpected(events.error());
  const auto page = parse_events(*events);
  if (!page) return tl::unexpected(page.error());
  since_ = page->next;
  sample.lost = page->lost;
  sample.events = std::move((*events)["events"]);
  sample.stats = std::move(*stats);
  known_ = true;
  return sample;
}

}  // namespace vmmctl
