#!/bin/bash
# boot.sh <build folder> <kernel> <topology> [GoogleTest argument]...
# boot.sh <build folder> <kernel> <topology> --run <program> [argument]...
#
# Boots that kernel of Debian's ("6.12") on a
# machine of several nodes in software emulation, runs the build folder's numa_tests, kernel_tests and stress_tests in it,
# or the program, and ends as they did. Exit status 77, and the reason: it cannot be done here. Logs, in
# <build folder>/vm/<kernel>.<topology>: console.log of the tests, kernel.log of the kernel.
#
# Without arguments for GoogleTest, kernel_tests runs what selection.sh says. Environment: VMM_FULL=1 for more of it;
# VMM_VM_SHARD=<index>/<count> for a part of it; VMM_VM_SECONDS, after which the machine is stopped.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/vm/rig.sh
source "$here/rig.sh"

# The machine, as QEMU's arguments.
machine=() processors=0 memory=0 count=0
# node <MiB> <processors>
node() {
  local cpus=
  if [[ $2 -gt 0 ]]; then cpus=,cpus=$processors-$((processors + $2 - 1)); fi
  machine+=(-object "memory-backend-ram,id=memory$count,size=$1M,prealloc=$prealloc"
            -numa "node,nodeid=$count,memdev=memory$count$cpus")
  count=$((count + 1)) memory=$((memory + $1)) processors=$((processors + $2))
}
# distance <a> <b> <value>
distance() { machine+=(-numa "dist,src=$1,dst=$2,val=$3"); }

# nodes <count> <MiB of each>: with one processor each.
nodes() {
  local more
  for ((more = $1; more > 0; more--)); do node "$2" 1; done
}

describe_machine() {
  case $1 in
    two_nodes) nodes 2 1024 ;;
    four_nodes)  # two pairs, whose corners lie differently far from each other
      nodes 4 512
      distance 0 1 14
      distance 2 3 14
      distance 0 2 20
      distance 1 3 20
      distance 0 3 26
      distance 1 2 26
      ;;
    eight_nodes) nodes 8 320 ;;
    memory_only)  # the last
      nodes 4 512
      node 512 0
      ;;
    *) fail "no topology '$1': two_nodes, four_nodes, eight_nodes, memory_only" ;;
  esac
}

# run_in_machine <program> [argument]...: a line of what the machine runs.
run_in_machine() { printf 'run %s\n' "${*@Q}" >> "$root/programs"; }

add_programs() {
  make_root "$work/root"
  printf 'export VMM_RIG=%q GTEST_COLOR=no\n' "$topology" > "$root/programs"
  if [[ ${1:-} == --run ]]; then
    shift
    add_program "$1"
    run_in_machine "$@"
  else
    add_tests "$@"
  fi
}

add_tests() {
  add_program "$build/tests/numa_tests"
  add_program "$build/tests/kernel_tests"
  add_program "$build/tests/stress_tests"
  add_program "$build/tests/liblive_module.so"
  local seconds
  if [[ $# -gt 0 ]]; then
    run_in_machine "$build/tests/numa_tests" "$@"
    run_in_machine "$build/tests/kernel_tests" "$@"
  else
    run_in_machine "$build/tests/numa_tests"
    # shellcheck source=tests/vm/selection.sh
    source "$here/selection.sh"
    if [[ -n ${VMM_VM_SHARD:-} && -z ${VMM_FULL:-} ]]; then
      printf 'export GTEST_SHARD_INDEX=%q GTEST_TOTAL_SHARDS=%q\n' "${VMM_VM_SHARD%/*}" "${VMM_VM_SHARD#*/}" \
        >> "$root/programs"
    fi
    run_in_machine "$build/tests/kernel_tests" "--gtest_filter=$(selected_kernel_tests "$topology")"
    # Guests change homes, memory follows, and all is reclaimed, discarded and compared meanwhile.
    seconds=$(stress_seconds "$topology")
    if [[ $seconds -gt 0 ]]; then
      run_in_machine "$build/tests/stress_tests" --isolation "$(stress_isolation "$version")" --seconds "$seconds" \
        --threads 3 --shrink 4 --swap-io io_uring
    fi
  fi
}

# Sums, why tests were skipped, and what those printed that failed or did not end.
summarise() {
  grep -E '^(vm: |\[==========\] .* ran\.|\[  (PASSED|FAILED)  \] [0-9]+ test)' "$logs/console.log" || true
  awk '/: Skipped$/ { getline; reasons[$0]++ }
       END { for (reason in reasons) printf "%d tests of the machine skipped: %s\n", reasons[reason], reason }' \
    "$logs/console.log"
  awk '/^\[ RUN / { text = "" }
       { text = text $0 "\n" }
       /^\[ +(OK|SKIPPED) / { text = "" }
       /^\[  FAILED  \] .* ms\)$/ { printf "%s", text; text = "" }
       /^vm: exit status / { if ($4 > 1) printf "%s", text; text = "" }
       END { if (text !~ /^vm: end/) printf "%s", text }' "$logs/console.log" | tail -n 60
}

if [[ $# -lt 3 ]]; then
  sed -n '2,/^set/ s/^# \{0,1\}//p' "$0"
  exit 2
fi
build=$(realpath "$1") version=$2 topology=$3
shift 3
# What a program measures must not be how long the memory takes to be found that is below the machine's: four times as
# long as copying a huge page there.
prealloc=off
if [[ ${1:-} == --run ]]; then prealloc=on; fi
describe_machine "$topology"
need_tools
limit=${VMM_VM_SECONDS:-$([[ -n ${VMM_FULL:-} ]] && echo 7200 || echo 1800)}
logs=$build/vm/$version.$topology
mkdir -p "$logs"
rm -f "$logs"/*.log
image=$("$here/kernel.sh" "$version" "$build/vm/kernels") || { status=$?; echo "$image"; exit "$status"; }

work=$(mktemp -d "$logs/work.XXXXXX") emulator=
trap 'if [[ -n $emulator ]]; then kill "$emulator" 2> /dev/null || true; fi; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
add_programs "$@"
make_disk "$work/disk" 4G
status=0
boot_until_up -smp "$processors,sockets=$processors,cores=1,threads=1" -m "$memory" "${machine[@]}" || status=$?
summarise
echo "logs: $logs/console.log and kernel.log"
has_ended "$status"
if grep -E '^vm: exit status ' "$logs/console.log" | grep -qv ' 0$'; then fail "tests in the machine"; fi
