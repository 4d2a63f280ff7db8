#include "host/control_verbs.h"

#include <cerrno>
#include <memory>

#include "base/error.h"
#include "base/read_number.h"
#include "host/guarded.h"
#include "host/host_core.h"
#include "host/text_out.h"

namespace vmm::host {
namespace {

// {"ok":true, and what the verb has returned.
class Good {
 public:
  Good() { reply_.body = "{\"ok\":true"; }
  template <class Value>
  Good&& with(const char* name, Value value) && {
    (reply_.body += ",\"") += name;
    reply_.body += "\":";
    append(reply_.body, value);
    return std::move(*this);
  }
  operator HttpReply() && {  // NOLINT: what it is made for
    reply_.body += "}\n";
    return std::move(reply_);
  }

 private:
  HttpReply reply_;
};

// Fields that the verb does not know are mistakes: something else was meant.
std::optional<HttpReply> unknown_field(std::string_view verb, const Fields& fields,
                                       std::initializer_list<std::string_view> known) {
  for (const auto& [name, value] : fields) {
    std::string names;
    bool found = false;
    for (const auto k : known) {
      found |= name == k;
      (names += names.empty() ? "" : ", ") += k;
    }
    if (!found)
      return refused(400, std::string(verb) + ": " + name + " = " + value + ": no such field",
                     names.empty() ? "give none" : "give " + names);
  }
  return std::nullopt;
}

template <class Number>
bool number_in(const Fields& fields, const char* name, Number& number) {
  const auto field = fields.find(name);
  return field != fields.end() && base::read_number(field->second, number);
}

HttpReply bad_field(std::string_view verb, const Fields& fields, const char* name, const char* remedy) {
  const auto field = fields.find(name);
  return refused(400, std::string(verb) + ": " + name + (field == fields.end() ? " is missing" : " = " + field->second),
                 remedy);
}

// The guest that the fields name, as itself or as statistics write it (append_utf8()).
std::shared_ptr<GuestCore> guest_of(HostCore& host, const Fields& fields) {
  const auto name = fields.find("guest");
  return name == fields.end() ? nullptr : host.find_guest(name->second);
}

HttpReply no_guest(std::string_view verb, const Fields& fields) {
  if (!fields.contains("guest")) return bad_field(verb, fields, "guest", "give the name of a guest");
  return refused(404, std::string(verb) + ": guest = " + fields.at("guest") + ": there is no such guest",
                 "GET /stats.json names them");
}

HttpReply reclaim(HostCore& host, const Fields& fields) {
  if (auto bad = unknown_field("reclaim", fields, {"guest", "bytes"})) return *bad;
  const auto guest = guest_of(host, fields);
  if (guest == nullptr) return no_guest("reclaim", fields);
  std::uint64_t bytes = 0;
  if (!number_in(fields, "bytes", bytes)) return bad_field("reclaim", fields, "bytes", "give a whole number");
  const auto freed = guest->reclaim(bytes);
  return freed ? HttpReply(Good().with("bytes", *freed)) : refused(freed.error());
}

HttpReply restore(HostCore& host, const Fields& fields) {
  if (auto bad = unknown_field("restore", fields, {"guest"})) return *bad;
  const auto guest = guest_of(host, fields);
  if (guest == nullptr) return no_guest("restore", fields);
  const auto brought = guest->restore();
  return brought ? HttpReply(Good().with("bytes", *brought)) : refused(brought.error());
}

HttpReply rehome(HostCore& host, const Fields& fields) {
  if (auto bad = unknown_field("rehome", fields, {"guest", "node"})) return *bad;
  const auto guest = guest_of(host, fields);
  if (guest == nullptr) return no_guest("rehome", fields);
  int node = 0;
  if (!number_in(fields, "node", node)) return bad_field("rehome", fields, "node", "give the number of a node");
  const auto done = guest->rehome(node);
  return done ? HttpReply(Good().with("node", node)) : refused(done.error());
}

HttpReply share(HostCore& host, const Fields& fields) {
  if (auto bad = unknown_field("share", fields, {})) return *bad;
  const auto report = host.share_now();
  if (!report) return refused(report.error());
  return Good()
      .with("scanned", report->scanned)
      .with("shared", report->shared)
      .with("zero", report->zero)
      .with("broken", report->broken)
      .with("saved", report->saved)
      .with("cpu_ns", report->cpu_ns);
}

HttpReply set(HostCore& host, const Fields& fields) {
  Result<void> done;
  if (fields.contains("guest")) {
    const auto guest = guest_of(host, fields);
    if (guest == nullptr) return no_guest("set", fields);
    const auto change = guest_change(fields);
    if (!change) return refused(change.error());
    done = guest->configure(*change);
  } else {
    const auto change = host_change(fields);
    if (!change) return refused(change.error());
    done = host.configure(*change);
  }
  return done ? HttpReply(Good()) : refused(done.error());
}

constexpr struct Verb {
  std::string_view name;
  HttpReply (*run)(HostCore& host, const Fields& fields);
} kVerbs[] = {{"reclaim", reclaim}, {"restore", restore}, {"rehome", rehome}, {"share", share}, {"set", set}};

}  // namespace

bool is_verb(std::string_view name) {
  for (const auto& verb : kVerbs)
    if (verb.name == name) return true;
  return false;
}

HttpReply do_verb(HostCore& host, std::string_view name, const Fields& fields) {
  for (const auto& verb : kVerbs) {
    if (verb.name != name) continue;
    const auto reply = guarded("control", [&]() -> Result<HttpReply> { return verb.run(host, fields); });
    return reply ? *reply : refused(reply.error());
  }
  return refused(404, "verb " + std::string(name), "");
}

HttpReply refused(int status, const std::string& error, const std::string& remedy) {
  HttpReply reply;
  reply.status = status;
  reply.body = "{\"error\":";
  append_json(reply.body, error);
  reply.body += ",\"remedy\":";
  append_json(reply.body, remedy);
  reply.body += "}\n";
  return reply;
}

HttpReply refused(const Error& error) {
  const bool of_fields = error.code == std::error_code(EINVAL, std::generic_category());
  return refused(of_fields ? 400 : 409, error.operation + ": " + error.code.message(), error.remedy);
}

}  // namespace vmm::host
