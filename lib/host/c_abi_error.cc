// The C interface: errors, texts, and the checks of sizes.
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "host/c_abi.h"
#include "host/version.h"

namespace vmm::host::c {
namespace {

// What comes with a stack's garbage for a size is refused before it is read to its end.
constexpr std::size_t kMostSize = 4096;

// No destructor: a thread that has one of these does not keep the library loaded.
struct LastError {
  char text[1024];
  std::size_t used;
};
thread_local LastError last_error{};

void append(std::string_view text) noexcept {
  const auto room = sizeof(last_error.text) - 1 - last_error.used;
  const auto taken = std::min(text.size(), room);
  std::memcpy(last_error.text + last_error.used, text.data(), taken);
  last_error.used += taken;
  last_error.text[last_error.used] = '\0';
}

int remember(const std::error_code& code, std::string_view operation, std::string_view remedy) noexcept {
  last_error.used = 0;
  append(operation);
  append(": ");
  try {
    append(code.message());
  } catch (...) {
    append("no memory for the reason");
  }
  if (!remedy.empty()) {
    append(" (");
    append(remedy);
    append(")");
  }
  return -errno_of(code);
}

}  // namespace

int errno_of(const std::error_code& code) noexcept {
  constexpr int kMostErrno = 4095;
  if (code.category() == error_category()) {
    switch (static_cast<Errc>(code.value())) {
      case Errc::forked_child: return VMM_ERR_FORKED_CHILD;
      case Errc::inert_handle: return VMM_ERR_INERT_HANDLE;
      case Errc::already_attached: return VMM_ERR_ALREADY_ATTACHED;
      case Errc::admission_refused: return VMM_ERR_ADMISSION_REFUSED;
      case Errc::pin_limit: return VMM_ERR_PIN_LIMIT;
      case Errc::page_lost: return VMM_ERR_PAGE_LOST;
      case Errc::pages_pinned: return VMM_ERR_PAGES_PINNED;
      case Errc::not_supported: return VMM_ERR_NOT_SUPPORTED;
      case Errc::shutting_down: return VMM_ERR_SHUTTING_DOWN;
    }
    return EIO;
  }
  const bool is_errno = code.category() == std::generic_category() || code.category() == std::system_category();
  return is_errno && code.value() > 0 && code.value() <= kMostErrno ? code.value() : EIO;
}

int fail(const Error& error) noexcept { return remember(error.code, error.operation, error.remedy); }

int fail(int number, const char* operation, const char* remedy) noexcept {
  return remember(std::error_code(number, std::generic_category()), operation, remedy);
}

int no_handle(const char* function) noexcept {
  return remember(make_error_code(Errc::inert_handle), function, "the handle is NULL");
}

int no_pointer(const char* function, const char* what) noexcept {
  last_error.used = 0;
  append(function);
  append(": ");
  append(what);
  append(" may not be NULL");
  return -EINVAL;
}

int copy_text(const char* function, const std::string& text, char** out) noexcept {
  auto* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) return fail(ENOMEM, function, "free memory");
  std::memcpy(copy, text.c_str(), text.size() + 1);
  *out = copy;
  return 0;
}

int check_size(const char* name, std::size_t size) noexcept {
  if (size >= sizeof(std::size_t) && size % 8 == 0 && size <= kMostSize) return 0;
  last_error.used = 0;
  append(name);
  append(": size = ");
  char digits[24];
  auto* at = digits + sizeof(digits);
  auto rest = size;
  do {
    *--at = static_cast<char>('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  append({at, static_cast<std::size_t>(digits + sizeof(digits) - at)});
  append(" (give sizeof the struct; fill it by its _init function)");
  return size > kMostSize ? -E2BIG : -EINVAL;
}

int check_tail(const char* name, const void* given, std::size_t from, std::size_t to) noexcept {
  const auto* bytes = static_cast<const char*>(given);
  for (auto at = from; at < to; ++at)
    if (bytes[at] != 0)
      return fail(E2BIG, name, "the struct says more than this library knows: link one as new as the header");
  return 0;
}

Result<void> check_flag(const char* field, std::uint32_t value) {
  if (value <= 1) return {};
  return base::invalid(std::string(field) + " = " + std::to_string(value), "give 0 or 1");
}

Result<void> check_set(const char* field, std::uint64_t set, std::uint64_t known) {
  const auto unknown = set & ~known;
  if (unknown == 0) return {};
  return base::invalid(std::string(field) + ": bit " + std::to_string(__builtin_ctzll(unknown)),
                       "this library has no such field here");
}

Shares shares_of(std::uint64_t shares) noexcept {
  if (shares == VMM_SHARES_LOW) return Shares::low();
  if (shares == VMM_SHARES_NORMAL) return Shares::normal();
  if (shares == VMM_SHARES_HIGH) return Shares::high();
  return Shares::custom(shares);
}

Result<std::vector<int>> nodes_of(const std::int32_t* nodes, std::size_t count) {
  constexpr std::size_t kMostNodes = 4096;
  if (count == 0) return std::vector<int>();
  if (nodes == nullptr) return base::invalid("node_affinity = NULL", "give an array, or a count of 0");
  if (count > kMostNodes)
    return base::invalid("node_affinity_count = " + std::to_string(count), "no machine has as many nodes");
  return std::vector<int>(nodes, nodes + count);
}

}  // namespace vmm::host::c

namespace c = vmm::host::c;

const char* vmm_last_error() noexcept { return c::last_error.text; }
const char* vmm_version() noexcept { return vmm::host::version(); }
void vmm_free(void* text) noexcept { std::free(text); }
