// Which hosts run on this machine: listening stream sockets whose names end in ".vmm", as the kernel lists them.
// Thread-safety: any thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "host_client.h"

namespace vmmctl {

struct FoundHost {
  std::string socket;
  Result<HostInfo> info;  // or why it could not be asked
};

// The paths in the text of /proc/net/unix, each once, sorted.
std::vector<std::string> host_sockets(std::string_view proc_net_unix);
// The same of several looks at it. The kernel tells a part at a time, and one whose neighbour goes in between is left
// out: looks are taken until one tells nothing new.
std::vector<std::string> all_host_sockets(const std::function<std::string()>& look);
// Asks each of this user and of root, for root each, who it is; waits at most a second for each.
std::vector<FoundHost> find_hosts();

// The socket that is meant. `given` is a path, the id of a host's process, or empty: then $VMM_SOCKET, and without that
// the only host that runs. Who listens and does not answer in time may be a host too, and the one that is meant.
// Errors: FailureKind::usage (none or several run: they are named; no such process), gone.
Result<std::string> resolve_socket(const std::string& given);
// The same when the hosts that run are known.
Result<std::string> choose_socket(const std::string& given, const std::vector<FoundHost>& hosts);
// A line about one: its socket, and who it is.
std::string describe(const FoundHost& host);

}  // namespace vmmctl
