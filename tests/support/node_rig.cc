#include "support/node_rig.h"

#include <algorithm>

#include "reclaim/drop_leftovers.h"
#include "support/eventually.h"

namespace vmm::test {
namespace {

constexpr std::uint64_t kSecret = 0x5eed;

template <class T>
T must(Result<T> result) {
  EXPECT_TRUE(result) << result.error().message();
  return std::move(*result);
}

}  // namespace

std::string unable_to_run(const Way& way) {
  if (auto why = unable(way); !why.empty()) return why;
  static const Capabilities caps = probe();
  if (way.swap_io == SwapIo::io_uring && !caps.has("io_uring")) return "probe(): io_uring is missing";
  return {};
}

void RigGuest::fill(std::uint64_t first, std::uint64_t end, std::uint64_t version) {
  for (auto page = first; page < end; ++page) fill_page(at(page), memory_->id(), page, version);
}

std::string RigGuest::wrong(std::uint64_t first, std::uint64_t end, std::uint64_t version) {
  std::string text;
  int found = 0;
  for (auto page = first; page < end && found < 5; ++page) {
    const auto w = wrong_page(at(page), memory_->id(), page, version);
    if (w.empty()) continue;
    text += "page " + std::to_string(page) + ": " + w + "\n";
    ++found;
  }
  return text;
}

NodeRig::NodeRig(const Way& way, const RigOptions& options)
    : move_(way.isolation == Isolation::move), options_(options), credit_(options.budget_pages),
      pagemap_(must(os::Pagemap::open(move_))) {
  features_.move = move_;
  features_.wp_async = move_;
  features_.poison = probe().has("poison");
  features_.remap = true;
  credit_.set_waiter(this);
  if (options.zero_pool && move_) zero_pool_ = must(region::ZeroPool::create(0, credit_));
  reclaim::SwapInOptions in;
  in.io = way.swap_io;
  in.batch_pages = options.batch_pages;
  swap_in_ = must(reclaim::SwapIn::create(in, credit_, notices_));
  region::FaultServiceOptions fault;
  credit_.marks().low = credit_.marks().read_ahead = options.low_free_pages;
  credit_.marks().roomy = options.roomy_free_pages;
  faults_ = must(region::FaultService::create(fault, credit_, *swap_in_, *this, notices_, zero_pool_.get()));
  reclaim::SwapOutOptions out;
  out.io = way.swap_io;
  out.retry_timeout = options.retry_timeout;
  out_ = must(reclaim::SwapOut::create(out, notices_));
  RigGuestOptions idle;
  idle.pages = idle.slots = 1;
  idle.manage = false;
  next_id_ = 1U << 20;  // tests know the first guest by 1
  idle_ = make(idle);
  next_id_ = 1;
}

NodeRig::~NodeRig() {
  while (!guests_.empty()) remove(*guests_.back());
  remove(*idle_);
  faults_.reset();
}

RigGuest& NodeRig::add(const RigGuestOptions& options) {
  guests_.push_back(make(options));
  return *guests_.back();
}

std::unique_ptr<RigGuest> NodeRig::make(const RigGuestOptions& options) {
  region::GuestMemoryOptions o;
  o.id = next_id_++;
  o.name = "g" + std::to_string(o.id);
  o.pages = options.pages;
  o.limit_pages = options.limit_pages;
  o.large_pages = options.large_pages;
  o.move = move_;
  o.features = features_;
  o.read_window = options_.batch_pages;
  auto guest = std::make_unique<RigGuest>();
  guest->memory_ = must(region::GuestMemory::create(o, credit_, pagemap_));
  const auto slots = std::min(options.slots, options.pages);
  guest->memory_->backing =
      must(reclaim::SwapStore::create({directory_.path(), o.name, slots * kPageSize, false}, kSecret));
  guest->memory_->table.set_bell(&faults_->bell());
  guest->pins_.emplace(*guest->memory_);
  guest->evictor_ = std::make_unique<reclaim::Evictor>(*guest->memory_, notices_);
  EXPECT_TRUE(faults_->add(*guest->memory_));
  if (options.manage) {
    base::MutexLock lock(guest->memory_->control);
    EXPECT_TRUE(guest->memory_->manage());
  }
  return guest;
}

void NodeRig::remove(RigGuest& guest) {
  out_->finish(true, now_);
  faults_->remove(guest.memory());
  std::erase_if(guests_, [&](const auto& g) { return g.get() == &guest; });
}

void NodeRig::settle(RigGuest& guest) {
  const auto idle = [&] {
    if (faults_->progress().address != 0 || faults_->helper_progress().address != 0) return false;
    for (std::uint64_t page = 0; page < guest->pages(); ++page)
      if (guest->table.load(page).locked()) return false;
    return true;
  };
  // What waited for a locked page is looked at when the thread goes through its loop, and may lock it once more.
  do {
    EXPECT_TRUE(eventually(idle)) << "a page stays locked";
    faults_->remove(idle_->memory());
    EXPECT_TRUE(faults_->add(idle_->memory()));
  } while (!idle());
  reclaim::drop_leftovers(guest.memory());
}

std::uint64_t NodeRig::park(RigGuest& guest) {
  settle(guest);
  guest.evictor().find_stranded(now_);
  std::uint64_t parked = 0;
  // A page may be three chances warm; the fourth round takes it.
  for (int round = 0; round < 5; ++round) parked += guest.evictor().park(guest->pages(), ~std::uint64_t{0}, now_);
  return parked;
}

std::uint64_t NodeRig::write(RigGuest& guest, bool finish) {
  const auto handed = guest.evictor().write(guest->pages(), now_, now_, *out_);
  if (finish) out_->finish(true, now_);
  return handed;
}

void NodeRig::evict(RigGuest& guest) {
  for (auto before = ~std::uint64_t{0}; guest->counters.resident.load() < before;) {
    before = guest->counters.resident.load();
    park(guest);
    write(guest);
  }
}

std::vector<region::Notice> NodeRig::notices() {
  std::vector<region::Notice> all;
  for (region::Notice notice; notices_.pop(notice);) all.push_back(notice);
  return all;
}

os::Call NodeRig::write_call() const {
  return out_->backend() == os::AsyncIo::Backend::io_uring ? os::Call::uring_write : os::Call::pwrite;
}

os::Call NodeRig::read_call() const {
  return out_->backend() == os::AsyncIo::Backend::io_uring ? os::Call::uring_read : os::Call::pread;
}

}  // namespace vmm::test
