#include "base/error.h"

namespace vmm {
namespace {

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "vmm"; }
  std::string message(int value) const override {
    switch (static_cast<Errc>(value)) {
      case Errc::forked_child: return "called in a child of fork(); guests exist only in the parent";
      case Errc::inert_handle: return "the handle is empty, moved from, or its host is gone";
      case Errc::already_attached: return "the thread already has a seat";
      case Errc::admission_refused: return "the host cannot keep its promises to this guest";
      case Errc::pin_limit: return "more pinned memory than allowed";
      case Errc::page_lost: return "the page's only copy could not be read back from the swap file";
      case Errc::pages_pinned: return "pages of the range are pinned";
      case Errc::not_supported: return "not supported by this kernel or process";
      case Errc::shutting_down: return "the host is being destroyed";
    }
    return "unknown error " + std::to_string(value);
  }
};

// Never destroyed: a handle in static storage may outlive what is made after it, and still say why a call failed.
union Lasting {
  constexpr Lasting() noexcept : category() {}
  ~Lasting() {}
  Category category;
};
constinit const Lasting lasting;

}  // namespace

const std::error_category& error_category() noexcept { return lasting.category; }

}  // namespace vmm
