#include <memory>

#include "commands.h"
#include "control.h"
#include "find_hosts.h"
#include "json_text.h"
#include "output.h"

namespace vmmctl {
namespace {

struct Options {
  std::string socket, guest, size;
  std::int64_t node = 0;
  std::vector<std::string> words;
  double timeout = 60;
  bool json = false;
};

int run(const Options& options, const Result<std::string>& target) {
  if (!target) return complain(target.error());
  const auto socket = resolve_socket(options.socket);
  if (!socket) return complain(socket.error());
  Limits limits;
  limits.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(options.timeout * 1000));
  const auto answer = HostClient(*socket, limits).post(*target);
  if (!answer) return complain(answer.error());
  auto output = Output::open("");
  const auto written = output->write(options.json ? json_text(*answer) + "\n" : control_text(*answer));
  return written ? kSuccess : complain(written.error());
}

CLI::App* add_verb(CLI::App& app, const char* name, const char* what, const std::shared_ptr<Options>& options) {
  auto* command = app.add_subcommand(name, what);
  command->add_option("--socket", options->socket,
                      "the host's socket, or the id of its process; else $VMM_SOCKET, else the host that runs");
  command->add_option("--timeout", options->timeout, "seconds to wait for the answer")
      ->check(CLI::Range(0.1, 86400.0))
      ->capture_default_str();
  command->add_flag("--json", options->json, "the host's answer as it is");
  command->footer("The host takes it only if it was created with HostOptions::stats_control.");
  return command;
}

}  // namespace

void add_control(CLI::App& app, int& status) {
  {
    auto options = std::make_shared<Options>();
    auto* command = add_verb(app, "reclaim", "take memory from a guest", options);
    command->add_option("guest", options->guest, "its name")->required();
    command->add_option("size", options->size, "how much: bytes, or with K, M, G, T")->required();
    command->callback([options, &status] {
      const auto bytes = parse_bytes(options->size);
      status = !bytes ? complain(bytes.error())
                      : run(*options,
                            control_target("reclaim", {{"guest", options->guest}, {"bytes", std::to_string(*bytes)}}));
    });
  }
  {
    auto options = std::make_shared<Options>();
    auto* command = add_verb(app, "restore", "bring back what was swapped of a guest", options);
    command->add_option("guest", options->guest, "its name")->required();
    command->callback([options, &status] {
      status = run(*options, control_target("restore", {{"guest", options->guest}}));
    });
  }
  {
    auto options = std::make_shared<Options>();
    auto* command = add_verb(app, "rehome", "give a guest another home node", options);
    command->add_option("guest", options->guest, "its name")->required();
    command->add_option("node", options->node, "the NUMA node")->required()->check(CLI::NonNegativeNumber);
    command->callback([options, &status] {
      status =
          run(*options, control_target("rehome", {{"guest", options->guest}, {"node", std::to_string(options->node)}}));
    });
  }
  {
    auto options = std::make_shared<Options>();
    auto* command = add_verb(app, "share", "look once at all pages, at full speed, and share what is equal", options);
    command->callback([options, &status] { status = run(*options, control_target("share", {})); });
  }
  {
    auto options = std::make_shared<Options>();
    auto* command = add_verb(app, "set", "change a guest, or without one the host: vmmctl set web limit=2G", options);
    command->add_option("--guest", options->guest, "its name; or the first word");
    command
        ->add_option("words", options->words,
                     "[guest] field=value...; fields as in vmm::GuestChange and vmm::HostChange, times in ms")
        ->required();
    command->callback([options, &status] { status = run(*options, set_target(options->guest, options->words)); });
  }
}

}  // namespace vmmctl
