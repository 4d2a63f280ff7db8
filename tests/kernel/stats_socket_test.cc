// HostOptions::stats_socket: what a host tells and does over its socket.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/child.h"
#include "support/deadline.h"
#include "support/eventually.h"
#include "support/http_client.h"
#include "support/page_oracle.h"
#include "support/process_state.h"
#include "support/temp_directory.h"
#include "support/way.h"

namespace vmm::test {
namespace {

using nlohmann::json;

class StatsSocket : public EachWay {
 protected:
  void make(bool control, const std::string& guest = "g", double share_scan_ghz = 0) {
    auto options = host_options(directory_.path(), 128 * MiB);
    options.stats_socket = path_;
    options.stats_control = control;
    options.management = Management::at_creation;
    options.share_scan_ghz = share_scan_ghz;
    auto host = Host::create(options);
    ASSERT_TRUE(host) << host.error().message();
    host_ = std::move(*host);
    auto go = guest_options(guest, 16 * MiB);
    go.large_pages = false;
    auto made = host_.create_guest(go);
    ASSERT_TRUE(made) << made.error().message();
    guest_ = std::move(*made);
  }
  json get(const std::string& target, int status = 200) {
    const auto answer = http_get(path_, target);
    EXPECT_EQ(answer.status, status) << target << answer.body;
    return json::parse(answer.body, nullptr, false);
  }
  json post(const std::string& target, int status = 200) {
    const auto answer = http_post(path_, target);
    EXPECT_EQ(answer.status, status) << target << answer.body;
    const auto body = json::parse(answer.body, nullptr, false);
    if (status == 200)
      EXPECT_EQ(body.value("ok", false), true) << answer.body;
    else
      EXPECT_FALSE(body.value("error", "").empty()) << answer.body;
    return body;
  }

  const Deadline deadline_{std::chrono::seconds(200), "the socket of a host"};
  const TempDirectory directory_;
  const std::string path_ = directory_.file("host.vmm");
  Host host_;
  Guest guest_;
};

TEST_P(StatsSocket, TellsWhatStatsTell) {
  make(false, "db \"1\"");
  struct stat file {};
  ASSERT_EQ(::stat(path_.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode, S_IFSOCK | 0600U);
  PageOracle oracle(guest_.memory(), 1);
  oracle.write(0, oracle.pages());
  ASSERT_TRUE(guest_.reclaim(4 * MiB));
  const auto about = get("/");
  EXPECT_EQ(about.at("name"), "libvmm");
  EXPECT_EQ(about.at("pid"), ::getpid());
  EXPECT_EQ(about.at("control"), false);
  EXPECT_GT(about.at("started_ns"), 0);
  const auto stats = get("/stats.json");
  const auto now = *host_.stats();
  EXPECT_EQ(stats.at("memory"), now.memory);
  EXPECT_EQ(stats.at("version"), about.at("version"));
  ASSERT_EQ(stats.at("guests").size(), 1U);
  const auto& guest = stats.at("guests").at(0);
  EXPECT_EQ(guest.at("name"), "db \"1\"");
  EXPECT_EQ(guest.at("swapped"), now.guests[0].swapped);
  EXPECT_EQ(guest.at("fill_latency").at("count"), now.guests[0].fill_latency.count);
  EXPECT_GE(guest.at("swapped"), 4 * MiB - kPageSize);
  const auto metrics = http_get(path_, "/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_NE(metrics.head.find("text/plain; version=0.0.4"), std::string::npos);
  EXPECT_NE(metrics.body.find("\nvmm_guest_resident_bytes{guest=\"db \\\"1\\\"\"} " +
                              std::to_string(now.guests[0].resident) + "\n"),
            std::string::npos);
  const auto csv = http_get(path_, "/stats.csv").body;
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 3);
  get("/nothing", 404);
  EXPECT_EQ(http_post(path_, "/metrics").status, 405);
}

TEST_P(StatsSocket, TellsEvents) {
  make(false, "g");
  const auto all = get("/events.json");
  EXPECT_EQ(all.at("lost"), 0);
  ASSERT_GE(all.at("events").size(), 2U);
  const auto& first = all.at("events").at(0);
  EXPECT_EQ(first.at("sequence"), 1);
  EXPECT_EQ(first.at("kind"), "guest_created");
  EXPECT_EQ(first.at("guest"), "g");
  EXPECT_EQ(first.at("bytes"), 16 * MiB);
  EXPECT_NE(first.at("reason"), "");
  const auto next = all.at("next").get<std::uint64_t>();
  guest_ = Guest();
  const auto more = get("/events.json?since=" + std::to_string(next));
  ASSERT_FALSE(more.at("events").empty());
  EXPECT_EQ(more.at("events").at(0).at("sequence"), next);
  bool destroyed = false;
  for (const auto& event : more.at("events")) destroyed |= event.at("kind") == "guest_destroyed";
  EXPECT_TRUE(destroyed);
  get("/events.json?since=x", 400);
  get("/events.json?until=1", 400);
  const auto ledger = host_.events(next);
  ASSERT_TRUE(ledger);
  EXPECT_EQ(ledger->records.front().sequence, next);
}

TEST_P(StatsSocket, RefusesVerbsUnlessPermitted) {
  make(false, "g");
  for (const char* verb :
       {"reclaim?guest=g&bytes=4096", "restore?guest=g", "rehome?guest=g&node=0", "share", "set?memory=0"}) {
    const auto body = post(std::string("/control/") + verb, 403);
    EXPECT_NE(body.at("error").get<std::string>().find("stats_control"), std::string::npos);
  }
  EXPECT_EQ(guest_.stats()->swapped_out, 0U);
  EXPECT_EQ(threads_named("vmm-control"), 0U);
}

TEST_P(StatsSocket, DoesEachVerb) {
  make(true, "gr\xc3\xbc\xc3\x9f &%=+", GetParam().isolation == Isolation::move ? 4 : 0);
  const std::string name = "gr%C3%BC%C3%9F%20%26%25%3D+";
  PageOracle oracle(guest_.memory(), 1);
  oracle.write(0, oracle.pages());
  EXPECT_EQ(get("/").at("control"), true);
  const auto reclaimed = post("/control/reclaim?guest=" + name + "&bytes=4194304").at("bytes").get<std::uint64_t>();
  EXPECT_GE(reclaimed, 4 * MiB);
  EXPECT_GE(guest_.stats()->swapped_out, 4 * MiB);
  const auto restored = post("/control/restore?guest=" + name);
  EXPECT_EQ(restored.at("bytes"), guest_.stats()->swapped_in);
  EXPECT_EQ(guest_.stats()->swapped, 0U);
  const int home = guest_.stats()->home_node;
  EXPECT_EQ(post("/control/rehome?guest=" + name + "&node=" + std::to_string(home)).at("node"), home);
  EXPECT_NE(post("/control/rehome?guest=" + name + "&node=999", 409).at("remedy"), "");
  post("/control/set?guest=" + name + "&limit=8388608&shares=777");
  EXPECT_EQ(guest_.stats()->limit, 8 * MiB);
  EXPECT_EQ(guest_.stats()->shares, 777U);
  post("/control/set?memory=67108864");
  EXPECT_EQ(host_.stats()->memory, 64 * MiB);
  if (GetParam().isolation == Isolation::move && probe().has("uffdio_move")) {
    EXPECT_GT(post("/control/share").at("scanned"), 0);
  } else {
    post("/control/share", 400);
  }
  EXPECT_EQ(oracle.check().wrong, 0U);
}

TEST_P(StatsSocket, SaysWhatIsWrongWithAVerb) {
  make(true, "g");
  const auto says = [&](const std::string& target, int status, const std::string& what) {
    const auto body = post("/control/" + target, status);
    EXPECT_NE(body.value("error", "").find(what), std::string::npos) << target << body;
  };
  says("reclaim?guest=x&bytes=1", 404, "guest = x");
  says("reclaim?bytes=1", 400, "guest is missing");
  says("reclaim?guest=g", 400, "bytes is missing");
  says("reclaim?guest=g&bytes=1k", 400, "bytes = 1k");
  says("reclaim?guest=g&bytes=1&all=1", 400, "all = 1");
  says("rehome?guest=g&node=", 400, "node = ");
  says("set?guest=g&limit=5", 400, "GuestOptions::limit = 5");
  says("set?guest=g&memory=5", 400, "memory = 5");
  says("set?guest=g", 400, "without a field");
  says("set?guest=g&pool=/none", 400, "/none");
  says("set?memory=1", 400, "HostOptions::memory = 1");
  says("set?guest=g&reservation=1099511627776", 400, "reservation");
  says("explode", 404, "explode");
  const auto answer = http_get(path_, "/control/share");
  EXPECT_EQ(answer.status, 405);
  EXPECT_NE(answer.head.find("Allow: POST"), std::string::npos);
}

// A guest whose name is no text can be told by what statistics call it.
TEST_P(StatsSocket, NamesWithoutTextCanBeUsed) {
  make(true, "\xff\n\"x");
  const auto name = get("/stats.json").at("guests").at(0).at("name").get<std::string>();
  std::string encoded;
  for (const char c : name) {
    char hex[4];
    std::snprintf(hex, sizeof hex, "%%%02x", static_cast<unsigned char>(c));
    encoded += hex;
  }
  post("/control/set?guest=" + encoded + "&shares=high");
  post("/control/set?guest=%ff%0a%22x&shares=low");
}

TEST_P(StatsSocket, EndsWithItsHostWhileClientsAreThere) {
  make(true, "g");
  PageOracle oracle(guest_.memory(), 1);
  oracle.write(0, oracle.pages());
  HttpClient idle(path_), half(path_), asking(path_);
  half.send("GET /stats");
  EXPECT_EQ(idle.ask("GET", "/").status, 200);
  // Verbs one after the other, of which some is under way.
  std::string verbs;
  for (int i = 0; i < 20; ++i)
    verbs +=
        "POST /control/reclaim?guest=g&bytes=16777216 HTTP/1.1\r\n\r\nPOST /control/restore?guest=g HTTP/1.1\r\n\r\n";
  asking.send(verbs);
  EXPECT_EQ(asking.read().status, 200);
  host_ = Host();
  EXPECT_TRUE(idle.ended());
  EXPECT_TRUE(half.ended());
  asking.ended();
  EXPECT_EQ(HttpClient(path_).error(), ENOENT);
  EXPECT_TRUE(library_threads_gone());
  EXPECT_FALSE(guest_.stats());
}

TEST_P(StatsSocket, AChildNeitherServesNorRemovesIt) {
  make(false, "g");
  HttpClient before(path_);
  EXPECT_EQ(before.ask("GET", "/").status, 200);
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    findings.check(!host_.events(0), "events in the child");
    guest_ = Guest();
    host_ = Host();
    // Served by the parent.
    findings.check_equal(http_get(path_, "/").status, 200, "from the child");
  }));
  EXPECT_EQ(before.ask("GET", "/").status, 200);
  EXPECT_EQ(get("/").at("pid"), ::getpid());
}

TEST_P(StatsSocket, SocketsThatCannotBeAreRefused) {
  auto options = host_options(directory_.path());
  const auto refused = [&](const std::string& path, int code, const std::string& what) {
    options.stats_socket = path;
    const auto host = Host::create(options);
    ASSERT_FALSE(host) << path;
    EXPECT_EQ(host.error().code.value(), code) << host.error().message();
    EXPECT_NE(host.error().operation.find("HostOptions::stats_socket"), std::string::npos) << host.error().message();
    EXPECT_NE(host.error().operation.find(what), std::string::npos) << host.error().message();
    EXPECT_FALSE(host.error().remedy.empty());
  };
  refused("host.vmm", EINVAL, "host.vmm");
  refused("/" + std::string(107, 'x'), EINVAL, "108 bytes");
  refused(std::string("/x\0y", 4), EINVAL, "stats_socket");
  refused(directory_.file("none/host.vmm"), ENOENT, "none/host.vmm");
  std::ofstream(directory_.file("data")) << "data";
  refused(directory_.file("data"), EEXIST, "data");
  make(false, "g");
  refused(path_, EADDRINUSE, path_);
  EXPECT_EQ(get("/").at("name"), "libvmm");
  options.stats_socket.clear();
  options.stats_control = true;
  EXPECT_FALSE(Host::create(options)) << "control of nothing";
}

TEST_P(StatsSocket, IsOffByDefault) {
  const auto before = open_descriptors();
  {
    const auto host = Host::create(host_options(directory_.path()));
    ASSERT_TRUE(host);
    EXPECT_EQ(threads_named("vmm-stats"), 0U);
  }
  EXPECT_EQ(open_descriptors(), before);
}

// The agreement is with HTTP as others speak it.
TEST_P(StatsSocket, CurlReadsIt) {
  if (std::system("curl --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "curl is not installed";
  make(true, "g");
  const auto curl = [&](const std::string& arguments) {
    auto* pipe = ::popen(("curl -sS --fail --unix-socket " + path_ + ' ' + arguments + " 2>&1").c_str(), "r");
    std::string out;
    for (int c; (c = std::fgetc(pipe)) != EOF;) out += static_cast<char>(c);
    EXPECT_EQ(::pclose(pipe), 0) << out;
    return out;
  };
  EXPECT_EQ(json::parse(curl("http://localhost/stats.json")).at("guests").size(), 1U);
  EXPECT_NE(curl("http://localhost/metrics http://localhost/metrics").find("vmm_host_memory_bytes"), std::string::npos);
  EXPECT_EQ(json::parse(curl("-X POST 'http://localhost/control/set?guest=g&shares=5'")).at("ok"), true);
  EXPECT_EQ(json::parse(curl("-d data 'http://localhost/control/set?guest=g&shares=6'")).at("ok"), true);
  EXPECT_EQ(guest_.stats()->shares, 6U);
}

VMM_EACH_WAY(StatsSocket);

}  // namespace
}  // namespace vmm::test
