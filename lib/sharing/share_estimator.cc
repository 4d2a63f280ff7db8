#include "sharing/share_estimator.h"

#include <algorithm>

#include "sharing/racy_bytes.h"
#include "vmm/units.h"

namespace vmm::sharing {
namespace {

std::uint64_t distinct(std::vector<std::uint64_t>& keys) {
  std::sort(keys.begin(), keys.end());
  return static_cast<std::uint64_t>(std::unique(keys.begin(), keys.end()) - keys.begin());
}

}  // namespace

void ShareEstimator::Group::add(const std::byte* bytes, const PageKeys& keys) {
  if (is_zero_racy(bytes)) ++zero_;
  else keys_.push_back(keys.key_of(bytes));
}

void ShareEstimator::add_guest(const std::string& salt, const std::string& name) {
  auto& group = groups_[salt];
  group.name_ = name;
  ++group.guests_;
}

ShareEstimator::Group* ShareEstimator::find(const std::string& salt) noexcept {
  const auto found = groups_.find(salt);
  return found == groups_.end() ? nullptr : &found->second;
}

void ShareEstimator::tell(ShareEstimate& estimate) {
  std::vector<std::uint64_t> all;
  for (auto& of_salt : groups_) {
    auto& group = of_salt.second;
    all.insert(all.end(), group.keys_.begin(), group.keys_.end());
    auto same = std::find_if(estimate.groups.begin(), estimate.groups.end(),
                             [&](const auto& g) { return g.salt == group.name_; });
    if (same == estimate.groups.end())
      same = estimate.groups.insert(same, ShareEstimate::Group{group.name_, 0, 0, 0, 0});
    const auto looked = (group.keys_.size() + group.zero_) * kPageSize;
    const auto saved = looked - distinct(group.keys_) * kPageSize;
    same->guests += group.guests_;
    same->looked += looked;
    same->zero += group.zero_ * kPageSize;
    same->saved += saved;
    estimate.looked += looked;
    estimate.zero += group.zero_ * kPageSize;
    estimate.saved += saved;
    estimate.saved_in_one_group += group.zero_ * kPageSize;
  }
  estimate.saved_in_one_group += (all.size() - distinct(all)) * kPageSize;
  groups_.clear();
}

}  // namespace vmm::sharing
