#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "doctor.h"
#include "json_text.h"
#include "output.h"

namespace vmmctl {
namespace {

struct Options {
  bool json = false;
  bool all = false;
  std::string swap_directory;
};

std::string kernel_name() {
  utsname name{};
  if (::uname(&name) != 0) return "Linux";
  return std::string(name.sysname) + " " + name.release;
}

DoctorStyle style_of_terminal() {
  DoctorStyle style;
  if (::isatty(STDOUT_FILENO) == 0) return style;
  const char* no_colour = std::getenv("NO_COLOR");
  style.colour = no_colour == nullptr || *no_colour == '\0';
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    style.width = std::clamp<std::size_t>(size.ws_col, 40, 120);
  return style;
}

int run(const Options& options) {
  const auto capabilities = vmm::probe(options.swap_directory);
  DoctorStyle style = style_of_terminal();
  style.all = options.all;
  auto output = Output::open("");
  const std::string text = options.json ? json_text(doctor_json(capabilities, kernel_name()), 2) + "\n"
                                        : doctor_text(capabilities, kernel_name(), style);
  if (auto written = output->write(text); !written) return complain(written.error());
  return static_cast<int>(severity_of(capabilities));
}

}  // namespace

void add_doctor(CLI::App& app, int& status) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("doctor", "what this kernel and process allow, and what to do where they do not");
  command->add_flag("--json", options->json, "for programs");
  command->add_flag("--all", options->all, "explain what is well, too");
  command->add_option("--swap-directory", options->swap_directory, "try this directory for swap files");
  command->footer("Status: 0 all is well, 1 advice, 2 something that is needed is missing.");
  command->callback([options, &status] { status = run(*options); });
}

}  // namespace vmmctl
