#include <fstream>
#include <memory>

#include "commands.h"
#include "output.h"
#include "report.h"

namespace vmmctl {
namespace {

struct Options {
  std::string record;
  std::string output = "report.html";
};

Result<void> run(const Options& options) {
  std::ifstream file(options.record, std::ios::binary);
  if (!file) return fail(FailureKind::system, options.record + ": cannot be read");
  std::vector<std::string> warnings;
  const auto data = read_record(file, warnings);
  for (const std::string& warning : warnings) warn(options.record + ": " + warning);
  if (!data) return fail(data.error().kind, options.record + ": " + data.error().what, data.error().remedy);
  auto output = Output::open(options.output);
  if (!output) return tl::unexpected(output.error());
  return output->write(report_page(*data));
}

}  // namespace

void add_report(CLI::App& app, int& status) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("report", "make an HTML page of what vmmctl record has written");
  command->add_option("record", options->record, "the record")->required();
  command->add_option("-o,--output", options->output, "the page; - is standard output")->capture_default_str();
  command->callback([options, &status] {
    const auto done = run(*options);
    status = done ? kSuccess : complain(done.error());
  });
}

}  // namespace vmmctl
