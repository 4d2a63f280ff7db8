#include "sampler.h"

#include <utility>

namespace vmmctl {

Result<Sample> Sampler::next() {
  // Asked each time: another may have taken its place, in the same process too.
  const auto info = client_.info();
  if (!info) return tl::unexpected(info.error());
  if (known_ && (info->pid != pid_ || info->started_ns != started_ns_)) restart();
  pid_ = info->pid;
  started_ns_ = info->started_ns;
  known_ = true;
  Sample sample;
  auto stats = client_.stats();
  if (!stats) return tl::unexpected(stats.error());
  if (const auto snapshot = parse_snapshot(*stats); !snapshot) return tl::unexpected(snapshot.error());
  auto events = client_.events(since_);
  if (!events) return tl::unexpected(events.error());
  const auto page = parse_events(*events);
  if (page && page->next < since_) {
    // It has become another since it was asked: what it has told is the former one's.
    restart();
    return next();
  }
  if (!page) return tl::unexpected(page.error());
  since_ = page->next;
  sample.restarted = std::exchange(restarted_, false);
  sample.lost = page->lost;
  sample.events = std::move((*events)["events"]);
  sample.stats = std::move(*stats);
  return sample;
}

void Sampler::restart() {
  restarted_ = true;  // until it is told
  since_ = 0;
}

}  // namespace vmmctl
