# shellcheck shell=bash
# Which of kernel_tests an emulated machine runs by itself, as GoogleTest's filter. It is 10 to 50 times slower than the
# machine that emulates it, the more the more processors it has.

# What asks most of the kernel: mappings, userfaultfd, the page map, how pages are taken, given back, swapped and
# dropped.
pages=('MappingTest.*' 'UserfaultfdTest.*' 'PagemapTest.*' 'WriteTracking.*' 'MoveRunTest.*' 'IsolatorTest.*'
       'GuestMemoryTest.*' 'FaultServiceTest.*' 'ZeroPoolTest.*' 'Mend.*' 'EvictorTest.*' 'LeftoversTest.*'
       'SwapOutTest.*' 'SwapInTest.*' 'PinsTest.*' 'DiscardTest.*' 'LostWakeUp.*' 'Shown.*' 'Sharing.*' 'PageSharing.*'
       'Hazard36_Salts.*')
# What looks at the machine's nodes.
homes=('PlacementLive.*' 'Hazard40_Seats.*')
never=(
  # Who gets how much memory, in seconds of ticks and of work: the kernel has no part in it, and in an emulated second
  # too little work is done.
  'WhoGetsMemory.*' 'ActiveMemory.*' 'IdleTax.*' 'SamplerStatistics.*' 'SamplerRaces.*' 'StateLow.*' 'Advice.*'
  'ArbitrationOptions.*' 'ArbitrationEdges.*' 'Limits.*' '*Balloon*' 'Heap*'
  # Tens of thousands of mappings, each some system calls.
  'Hazard19_Mappings.*'
  # 1000 processes: nine minutes. Two threads that take turns by yielding: up to four minutes.
  'Hazard35_Killed.*' 'MoveRunTest.CountsAreRightWhilePageTablesChange')

# What the kernel can do.
stress_isolation() { if [[ $1 == 6.1 ]]; then echo write_protect; else echo move; fi; }
# Of the machine's time; 0: not there.
stress_seconds() {
  if [[ -n ${VMM_FULL:-} ]]; then
    echo 300
  elif [[ $1 == four_nodes ]]; then
    echo 20
  else
    echo 0
  fi
}

# selected_kernel_tests <topology>
selected_kernel_tests() {
  local selected
  case ${VMM_FULL:+full_}$1 in
    # Eight processors that wait for each other are slowest.
    eight_nodes) selected=("${homes[@]}") ;;
    # The hosts of many other tests have a budget of which the buffers of eight nodes leave too little.
    full_eight_nodes) selected=("${homes[@]}" "${pages[@]}") ;;
    full_*) selected=('*') ;;
    *) selected=("${homes[@]}" "${pages[@]}") ;;
  esac
  local IFS=:
  printf '%s-%s' "${selected[*]}" "${never[*]}"
}
