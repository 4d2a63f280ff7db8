#include "region/page_state.h"

#include <set>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace vmm::region {
namespace {

using enum PageState;
constexpr PageState kAll[] = {native, resident, isolated, shared, compressed, swapped, ballooned, empty, lost};

TEST(PageState, EveryTransitionIsOneOfTheTable) {
  const std::set<std::pair<PageState, PageState>> allowed = {
      {native, resident},      {native, empty},        {native, ballooned},    {resident, isolated},
      {resident, empty},       {resident, native},     {resident, ballooned},  {isolated, resident},
      {isolated, swapped},     {isolated, empty},      {isolated, shared},     {isolated, compressed},
      {isolated, ballooned},   {shared, resident},     {shared, empty},        {shared, isolated},
      {compressed, resident},  {compressed, swapped},  {compressed, empty},    {compressed, lost},
      {swapped, resident},     {swapped, empty},       {swapped, lost},        {swapped, ballooned},
      {ballooned, resident},   {ballooned, empty},     {empty, resident},      {empty, native},
      {empty, ballooned},      {lost, empty},          {shared, ballooned},
  };
  for (const auto from : kAll)
    for (const auto to : kAll)
      EXPECT_EQ(may_become(from, to), from == to || allowed.count({from, to}) == 1)
          << static_cast<int>(from) << " -> " << static_cast<int>(to);
}

// Hazards 1 and 2 as rules: bytes leave a guest only by isolation, isolation is for managed pages, and nothing but a
// discard ends a loss.
TEST(PageState, BytesLeaveOnlyByIsolationAndLossEndsOnlyByDiscard) {
  for (const auto from : kAll) {
    EXPECT_FALSE(from != swapped && from != isolated && from != compressed && may_become(from, swapped));
    EXPECT_FALSE(from != isolated && from != resident && from != shared && may_become(from, isolated));
  }
  for (const auto to : kAll) {
    EXPECT_EQ(may_become(lost, to), to == lost || to == empty);
  }
}

TEST(PageWord, ASharedPageHasAFrameInPlaceOfASlot) {
  constexpr std::uint64_t kFrames[] = {0, 1, 0xabcdef012, (1ULL << 36) - 1};
  for (const auto frame : kFrames) {
    const auto word = PageWord().with_state(isolated).with_slot(77).with_heat(2).with_generation(9).with_frame(frame);
    EXPECT_EQ(word.state(), shared);
    EXPECT_EQ(word.frame(), frame);
    EXPECT_FALSE(word.has_slot());
    EXPECT_FALSE(word.broken());
    EXPECT_EQ(word.heat(), 2);
    EXPECT_EQ(word.generation(), 9);
    EXPECT_TRUE(word.with_broken().broken());
    EXPECT_EQ(word.with_broken().frame(), frame);
    EXPECT_FALSE(word.with_broken().with_state(isolated).broken()) << "another state's flag is another thing";
  }
}

TEST(PageWord, FieldsDoNotDisturbEachOther) {
  constexpr std::uint64_t kSlots[] = {0, 1, 0x555555555, (1ULL << 36) - 1};
  for (const auto state : kAll)
    for (const auto slot : kSlots)
      for (const auto watch : {Watch::none, Watch::page, Watch::whole})
        for (const std::uint16_t generation : {std::uint16_t{0}, std::uint16_t{0x8001}, std::uint16_t{0xffff}}) {
          const auto word = PageWord()
                                .with_slot(slot)
                                .with_generation(generation)
                                .with_pin(true)
                                .with_lock(true)
                                .with_writing(true)
                                .with_watch(watch)
                                .with_heat(generation & 3)
                                .with_state(state);
          EXPECT_EQ(word.heat(), generation & 3);
          EXPECT_EQ(word.state(), state);
          EXPECT_EQ(word.slot(), slot);
          EXPECT_EQ(word.generation(), generation);
          EXPECT_TRUE(word.pinned() && word.locked() && word.writing() && word.has_slot());
          EXPECT_EQ(word.watch(), watch);
          EXPECT_EQ(word.watched(), watch != Watch::none);
          const auto bare = word.with_pin(false).with_lock(false).with_writing(false).without_slot();
          EXPECT_FALSE(bare.pinned() || bare.locked() || bare.writing() || bare.has_slot());
          EXPECT_EQ(bare.state(), state);
          EXPECT_EQ(bare.generation(), generation);
          EXPECT_EQ(bare.slot(), 0u);
          EXPECT_EQ(bare.watch(), watch);
          EXPECT_EQ(word.with_watch(Watch::none).with_watch(watch).raw(), word.raw());
        }
}

// The touch may come after the page has been written, discarded or given up: only with_watch() ends a watch.
TEST(PageWord, WatchOutlivesChangesOfState) {
  for (const auto watch : {Watch::page, Watch::whole})
    for (const auto from : kAll)
      for (const auto to : kAll)
        EXPECT_EQ(PageWord().with_state(from).with_watch(watch).with_state(to).without_slot().watch(), watch);
}

TEST(PageWord, ZeroIsANativePage) {
  constexpr PageWord word;
  EXPECT_EQ(word.raw(), 0u);
  EXPECT_EQ(word.state(), native);
  EXPECT_FALSE(word.locked() || word.pinned() || word.writing() || word.has_slot() || word.watched());
}

}  // namespace
}  // namespace vmm::region
