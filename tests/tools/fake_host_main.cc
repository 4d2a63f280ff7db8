// Serves a scenario, for looking at vmmctl without a host: vmmctl_fake_host PATH [GUESTS] [NODES], until its input
// ends.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "scenario.h"

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: vmmctl_fake_host PATH [GUESTS] [NODES]\n");
    return 2;
  }
  fake::Scenario::Options options;
  if (argc > 2) options.guests = static_cast<std::size_t>(std::max(1, std::atoi(argv[2])));
  if (argc > 3) options.nodes = static_cast<std::size_t>(std::max(1, std::atoi(argv[3])));
  options.pid = ::getpid();
  fake::Scenario scenario(options);
  const fake::FakeHost host(argv[1], scenario.handler());
  for (std::array<char, 256> input{}; ::read(STDIN_FILENO, input.data(), input.size()) > 0;) {
  }
  return 0;
}
