#include "command_run.h"

#include <algorithm>
#include <memory>

#include "commands.h"
#include "output.h"
#include "run.h"

namespace vmmctl {

void add_run(CLI::App& app, const std::optional<std::vector<std::string>>& program, int& status) {
  auto options = std::make_shared<RunOptions>();
  auto* command = app.add_subcommand("run", "a program that knows nothing of libvmm, its memory in a guest");
  command->add_option("--memory,--budget", options->memory,
                      "memory that the program's may take of the machine's: bytes, or with K, M, G, T; without: nine "
                      "tenths of what there is");
  command->add_option("--size", options->size,
                      "all that the program can allocate; without: four times that, if the swap directory has room");
  command->add_option("--swap-directory", options->swap_directory, "for the swap file; else $TMPDIR, else /var/tmp");
  command->add_option("--mmap-threshold", options->mmap_threshold,
                      "anonymous mappings from this size on are in the guest; without: 128K");
  auto* socket = command->add_option("--stats-socket", options->stats_socket,
                                     "a path for vmmctl top and others, %p in it is the process's id; without: "
                                     "run-%p.vmm in $XDG_RUNTIME_DIR, /run or /tmp");
  command->add_flag("--no-stats-socket", options->no_stats_socket, "none")->excludes(socket);
  command->add_flag("--control", options->control, "vmmctl reclaim, set and the like may be used on it");
  command->add_flag("--report-at-exit", options->report_at_exit, "what it has used, on standard error");
  command->add_flag("--children", options->children, "programs that it starts get guests of their own, as large each");
  command->add_flag("--accept-baseline", options->accept_baseline,
                    "also on kernels without UFFDIO_MOVE, where direct I/O to the program's memory could get lost");
  // What follows the program's name is the program's, options too.
  command->prefix_command();
  command->footer(
      "Then, perhaps after --, the program and its arguments: vmmctl run --memory 512M -- redis-server --save \"\"\n"
      "Status: the program's; 125 where it could not be begun, 126 not to be executed, 127 not found.");
  command->callback([options, command, program, &status] {
    options->program = command->remaining_for_passthrough();
    std::reverse(options->program.begin(), options->program.end());              // into the order of the command line
    if (program && !options->program.empty()) options->program.push_back("--");  // the program's own
    if (program) options->program.insert(options->program.end(), program->begin(), program->end());
    status = options->program.empty() ? complain({FailureKind::usage, "run: which program? vmmctl run -- PROGRAM"})
                                      : run(*options);
  });
}

}  // namespace vmmctl
