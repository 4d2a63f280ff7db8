#include "host_client.h"

#include "text.h"

namespace vmmctl {
namespace {

using nlohmann::json;

std::string string_in(const json& document, const char* name) {
  if (!document.is_object()) return {};
  const auto at = document.find(name);
  return at != document.end() && at->is_string() ? at->get<std::string>() : std::string();
}

std::uint64_t number_in(const json& document, const char* name) {
  const auto at = document.find(name);
  return at != document.end() && at->is_number_unsigned() ? at->get<std::uint64_t>() : 0;
}

}  // namespace

Result<json> HostClient::ask(std::string_view method, const std::string& target) const {
  auto response = request(path_, method, target, limits_);
  if (!response) return tl::unexpected(response.error());
  auto document = parse_json(response->body);
  if (response->status == 200) {
    if (!document) return fail(FailureKind::garbage, path_ + target + ": " + document.error().what);
    return document;
  }
  std::string what = document ? string_in(*document, "error") : std::string();
  std::string remedy = document ? string_in(*document, "remedy") : std::string();
  if (what.empty()) what = "the host answers " + target + " with status " + std::to_string(response->status);
  if (response->status == 403) {
    if (remedy.empty()) remedy = "create the host with HostOptions::stats_control = true";
    return fail(FailureKind::denied, what, remedy);
  }
  return fail(FailureKind::refused, what, remedy);
}

Result<HostInfo> HostClient::info() const {
  auto document = get("/");
  if (!document) return tl::unexpected(document.error());
  if (string_in(*document, "name") != "libvmm")
    return fail(FailureKind::garbage, path_ + ": what answers there is no host of libvmm");
  HostInfo info;
  info.version = string_in(*document, "version");
  info.pid = static_cast<std::int64_t>(number_in(*document, "pid"));
  info.started_ns = number_in(*document, "started_ns");
  const auto control = document->find("control");
  info.control = control != document->end() && control->is_boolean() && control->get<bool>();
  return info;
}

Result<json> HostClient::events(std::uint64_t since) const {
  return get("/events.json?since=" + std::to_string(since));
}

}  // namespace vmmctl
