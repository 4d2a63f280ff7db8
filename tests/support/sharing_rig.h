// A rig for tests of page sharing: guests of one node, a store of frames, and a sharer that the test steps itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sharing/guest_frames.h"
#include "sharing/sharer.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"

namespace vmm::test {

class SharingRig : public EachWay {
 protected:
  static constexpr std::uint64_t kPages = 512, kBytes = kPages * kPageSize;
  static constexpr std::uint64_t kCommon = 7;  // as a guest's number in the patterns that several guests hold

  void SetUp() override {
    EachWay::SetUp();
    if (IsSkipped()) return;
    auto shown = sharing::ShownFrames::create();
    ASSERT_TRUE(shown) << shown.error().message();
    shown_ = std::make_unique<sharing::ShownFrames>(std::move(*shown));
    make_rig();
    make_sharer();
  }
  void TearDown() override {
    sharer_.reset();
    rig_.reset();
  }
  void make_rig() {
    rig_ = std::make_unique<NodeRig>(GetParam());
    auto store = stores_.add(0, 16 * kPages, rig_->credit());
    ASSERT_TRUE(store) << store.error().message();
    store_ = *store;
  }
  void make_sharer(sharing::SharerOptions options = {}) {
    options.most_time = std::chrono::hours(1);  // whatever the machine does meanwhile
    auto secret = sharing::ProcessSecret::create();
    ASSERT_TRUE(secret) << secret.error().message();
    secret_ = std::make_unique<sharing::ProcessSecret>(*secret);
    auto sharer = sharing::Sharer::create(*secret_, stores_, *store_, options);
    ASSERT_TRUE(sharer) << sharer.error().message();
    sharer_ = std::move(*sharer);
  }
  RigGuest& add(const std::string& salt = "common", std::uint64_t pages = kPages) {
    RigGuestOptions o;
    o.pages = pages;
    auto& guest = rig_->add(o);
    guest->frames = std::make_unique<sharing::GuestFrames>(guest.memory(), stores_, *shown_, mappings_);
    sharer_->add(guest.memory(), salt);
    return guest;
  }
  // Pages [first, first + count) hold what pages `from` on of all guests hold.
  static void fill_common(RigGuest& guest, std::uint64_t first, std::uint64_t count, std::uint64_t from,
                          std::uint64_t version = 1) {
    for (std::uint64_t i = 0; i < count; ++i) fill_page(guest.at(first + i), kCommon, from + i, version);
  }
  static std::string wrong_common(RigGuest& guest, std::uint64_t first, std::uint64_t count, std::uint64_t from) {
    for (std::uint64_t i = 0; i < count; ++i)
      if (auto text = wrong_page(guest.at(first + i), kCommon, from + i, 1); !text.empty())
        return std::to_string(first + i) + ": " + text;
    return "";
  }
  // A pass over each guest.
  void pass(const std::vector<RigGuest*>& guests) {
    for (auto* guest : guests) {
      rig_->settle(*guest);
      look_at(*guest);
    }
  }
  // A pass over the guest, whose faults have been answered.
  void look_at(RigGuest& guest) {
    while (!sharer_->step(guest.memory(), 2 * kPages)) {
    }
  }
  std::uint64_t count(RigGuest& guest, region::PageState state) {
    std::uint64_t n = 0;
    for (std::uint64_t page = 0; page < guest->pages(); ++page) n += guest.state(page) == state ? 1 : 0;
    return n;
  }
  static std::uint64_t anonymous(RigGuest& guest) {
    return smaps_bytes(guest.at(0), guest->pages() * kPageSize, "Anonymous") / kPageSize;
  }
  std::uint64_t frames() { return store_->allocated().value_or(0) / kPageSize; }
  // Everything that is charged is somebody's.
  void expect_sums(const std::vector<RigGuest*>& guests) {
    std::uint64_t sum = store_->in_use();
    for (auto* guest : guests) {
      std::uint64_t broken = 0;
      for (std::uint64_t page = 0; page < (*guest)->pages(); ++page)
        broken += (*guest)->table.load(page).broken() ? 1 : 0;
      EXPECT_EQ((*guest)->counters.resident.load(),
                count(*guest, region::PageState::resident) + count(*guest, region::PageState::isolated) + broken);
      EXPECT_EQ((*guest)->counters.shared.load(), count(*guest, region::PageState::shared));
      sum += (*guest)->counters.resident;
    }
    EXPECT_EQ(rig_->credit().charged(), sum);
    EXPECT_EQ(frames(), store_->in_use());
  }

  sharing::FrameStores stores_;
  sharing::MappingBudget mappings_{1000};
  sharing::FrameStore* store_ = nullptr;
  std::unique_ptr<sharing::ShownFrames> shown_;
  std::unique_ptr<sharing::ProcessSecret> secret_;
  std::unique_ptr<sharing::Sharer> sharer_;
  std::unique_ptr<NodeRig> rig_;
};

}  // namespace vmm::test
