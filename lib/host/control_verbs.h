// The verbs of control that come over a host's socket: what they are called, which fields they take, and what is done.
// Each does what the function of the public interface of that name does.
// Thread-safety: any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "host/http.h"
#include "vmm/options.h"
#include "vmm/result.h"

namespace vmm {
class HostCore;
}

namespace vmm::host {

using Fields = std::map<std::string, std::string>;  // as they were sent

bool is_verb(std::string_view name);
HttpReply do_verb(HostCore& host, std::string_view verb, const Fields& fields);

// {"error": ..., "remedy": ...}
HttpReply refused(int status, const std::string& error, const std::string& remedy);
// With 400 for what is wrong with the fields, 409 for all else.
HttpReply refused(const Error& error);

// What the fields of `set` say, but for `guest`. Errors: EINVAL naming the field and its value.
Result<GuestChange> guest_change(const Fields& fields);
Result<HostChange> host_change(const Fields& fields);

}  // namespace vmm::host
