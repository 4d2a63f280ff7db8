// GivingDriver: a balloon driver that gives pages of a tenant up which nobody works on at the moment, and now and then
// misbehaves: answers late, throws, or names what is no page of its guest.
//
// It holds the locks of the pages that it has given until the host has told what it took (deflate() follows each
// answer); those are zero from then on, the others as they were.
// Thread-safety: as BalloonDriver. It holds the shadow, so it may outlive the tenant.
#pragma once

#include <memory>
#include <vector>

#include "base/random.h"
#include "stress/page_shadow.h"
#include "vmm/balloon.h"

namespace vmm::stress {

class GivingDriver final : public BalloonDriver {
 public:
  GivingDriver(std::shared_ptr<PageShadow[]> shadow, std::uint64_t pages, std::uint64_t seed)
      : owner_(std::move(shadow)), shadow_(owner_.get()), pages_(pages), random_(seed) {}

  std::vector<BalloonRange> inflate(std::uint64_t bytes) override;
  void deflate(const std::vector<BalloonRange>& ranges) override;

 private:
  const std::shared_ptr<PageShadow[]> owner_;
  PageShadow* const shadow_;
  const std::uint64_t pages_;
  base::Random random_;
  std::vector<BalloonRange> given_;  // locked: the host has not said yet what it takes
};

}  // namespace vmm::stress
