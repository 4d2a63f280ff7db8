#include "host/stats_handler.h"

#include <string_view>

#include "base/read_number.h"
#include "host/control_verbs.h"
#include "host/host_core.h"
#include "host/text_out.h"
#include "host/version.h"
#include "os/process.h"
#include "vmm/metrics.h"

namespace vmm::host {
namespace {

constexpr std::string_view kControl = "/control/";

bool of_control(const HttpRequest& request) {
  return std::string_view(request.path).substr(0, kControl.size()) == kControl;
}

HttpReply of_kind(const char* type, std::string body) {
  HttpReply reply;
  reply.type = type;
  reply.body = std::move(body);
  return reply;
}

}  // namespace

bool StatsHandler::takes_long(const HttpRequest& request) {
  return control_ && of_control(request) && request.method == "POST" &&
         is_verb(std::string_view(request.path).substr(kControl.size()));
}

HttpReply StatsHandler::answer(const HttpRequest& request) {
  if (of_control(request)) {
    const auto verb = std::string_view(request.path).substr(kControl.size());
    if (!is_verb(verb)) return refused(404, "path \"" + request.path + "\": there is no such verb", "see vmmctl(1)");
    if (request.method != "POST") {
      auto reply = refused(405, "method " + request.method + " of " + request.path, "use POST");
      reply.allow = "POST";
      return reply;
    }
    if (!control_)
      return refused(403, "HostOptions::stats_control = false: verbs are not permitted",
                     "create the host with stats_control = true");
    return do_verb(host_, verb, request.query);
  }
  const bool known = request.path == "/" || request.path == "/metrics" || request.path == "/stats.json" ||
                     request.path == "/stats.csv" || request.path == "/events.json";
  if (!known)
    return refused(404, "path \"" + request.path + "\": there is nothing",
                   "GET /metrics, /stats.json, /stats.csv, /events.json or /");
  if (request.method != "GET") {
    auto reply = refused(405, "method " + request.method + " of " + request.path, "use GET");
    reply.allow = "GET, HEAD";
    return reply;
  }
  if (request.path == "/") return about();
  if (request.path == "/events.json") return events(request);
  const auto stats = host_.stats();
  if (!stats) return refused(stats.error());
  if (request.path == "/metrics") return of_kind("text/plain; version=0.0.4; charset=utf-8", to_prometheus(*stats));
  if (request.path == "/stats.csv") return of_kind("text/csv; charset=utf-8; header=present", to_csv(*stats));
  return of_kind("application/json", to_json(*stats));
}

HttpReply StatsHandler::about() const {
  std::string body = "{\"name\":\"libvmm\",\"version\":";
  append_json(body, version());
  body += ",\"pid\":";
  append(body, os::process_id());
  body += ",\"started_ns\":";
  append(body, started_ns_);
  body += ",\"control\":";
  body += control_ ? "true" : "false";
  return of_kind("application/json", body + "}\n");
}

HttpReply StatsHandler::events(const HttpRequest& request) {
  std::uint64_t since = 0;
  for (const auto& [name, value] : request.query)
    if (name != "since" || !base::read_number(value, since))
      return refused(400, name + " = " + value, "give since=N, the number of an event");
  const auto ledger = host_.events(since);
  if (!ledger) return refused(ledger.error());
  return of_kind("application/json", to_json(*ledger));
}

}  // namespace vmm::host
