// vmmctl: looks at hosts of libvmm and at the machine they run on. See docs/vmmctl.md.
#include <algorithm>
#include <clocale>
#include <string_view>

#include "command_run.h"
#include "commands.h"

int main(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "");
  CLI::App app{"Looks at programs that use libvmm: what the machine allows, and what their hosts and guests do."};
  app.name("vmmctl");
  app.set_version_flag("--version", "vmmctl " VMMCTL_VERSION);
  app.require_subcommand(1);
  app.footer("vmmctl COMMAND --help tells more; so does man vmmctl.");
  int status = vmmctl::kSuccess;
  vmmctl::add_doctor(app, status);
  vmmctl::add_top(app, status);
  vmmctl::add_record(app, status);
  vmmctl::add_report(app, status);
  vmmctl::add_control(app, status);
  // The parser would look for options of ours among those of the program that is to be run.
  std::optional<std::vector<std::string>> program;
  if (argc > 1 && std::string_view(argv[1]) == "run") {
    char** const end = argv + argc;
    char** const dashes = std::find_if(argv, end, [](const char* word) { return std::string_view(word) == "--"; });
    if (dashes != end) {
      program.emplace(dashes + 1, end);
      argc = static_cast<int>(dashes - argv);
    }
  }
  vmmctl::add_run(app, program, status);
  // The only exceptions here are those of the command line's parser.
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? vmmctl::kSuccess : vmmctl::kWrongUse;
  }
  return status;
}
