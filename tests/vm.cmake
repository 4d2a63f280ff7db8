# Tests that need several NUMA nodes, tests/numa, in the binary numa_tests:
#   numa                    on this machine, if it has them; label numa
#   vm.<kernel>.<topology>  on machines that QEMU emulates, with Debian's kernels, kernel_tests beside them. Label vm, or
#                           vm_full for those that tell least new, which ./run test leaves to --full.
#   vm.kvm_guest            the example kvm_guest, on an emulated machine that has virtualisation
# Exit status 77 is a skip, and its reason is printed.

file(GLOB sources CONFIGURE_DEPENDS numa/*_test.cc)
add_executable(numa_tests ${sources})
vmm_test_defaults(numa_tests)
vmm_precompile(numa_tests)
target_link_libraries(numa_tests PRIVATE vmm_test_support GTest::gtest_main)

string(CONCAT command "if grep -q '[-,]' /sys/devices/system/node/has_memory; then exec \"$0\"; fi; "
                      "echo 'skipped: this machine has one node with memory'; exit 77")
add_test(NAME numa COMMAND sh -c "${command}" $<TARGET_FILE:numa_tests>)
set_tests_properties(numa PROPERTIES LABELS numa RESOURCE_LOCK kernel TIMEOUT 1800 SKIP_RETURN_CODE 77)

# An emulated machine tells a sanitizer nothing new, twenty times slower.
if(VMM_SANITIZE)
  return()
endif()

# vmm_add_machine(<label> <kernel> <topology> <shard>): one at a time, beside other tests. It has as many processors as
# nodes, of which the tests keep one or two busy.
function(vmm_add_machine label kernel topology shard)
  set(name vm.${kernel}.${topology})
  add_test(NAME ${name}
    COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/vm/boot.sh" "${PROJECT_BINARY_DIR}" ${kernel} ${topology})
  set_tests_properties(${name} PROPERTIES LABELS ${label} RESOURCE_LOCK vm TIMEOUT 7500 SKIP_RETURN_CODE 77
    ENVIRONMENT "VMM_VM_SHARD=${shard}")
endfunction()

# Each runs a part of the kernel tests, unless VMM_FULL is set; on eight nodes are few of them.
vmm_add_machine(vm 6.12 two_nodes 0/6)
vmm_add_machine(vm 6.12 four_nodes 1/6)
vmm_add_machine(vm 6.12 eight_nodes 0/1)
vmm_add_machine(vm 6.12 memory_only 2/6)
vmm_add_machine(vm 6.1 four_nodes 0/3)
foreach(topology two_nodes eight_nodes memory_only)
  vmm_add_machine(vm_full 6.1 ${topology} 0/1)
endforeach()
# The example kvm_guest with a /dev/kvm that is there on no other machine of the tests, perhaps.
if(VMM_BUILD_EXAMPLES)
  add_test(NAME vm.kvm_guest COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/vm/kvm.sh" "${PROJECT_BINARY_DIR}" 6.12)
  set_tests_properties(vm.kvm_guest PROPERTIES LABELS vm_full RESOURCE_LOCK vm TIMEOUT 900 SKIP_RETURN_CODE 77)
endif()
