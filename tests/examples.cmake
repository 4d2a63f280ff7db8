# The example programs as they are run, for some seconds each (label project): each says by its exit status whether
# every byte was as it had been written, and prints what it is there to show. kvm_guest and those in C and Rust are in
# CMakeLists.txt.

# vmm_add_example_test(<name> <expression that a printed line matches> [arguments]...)
function(vmm_add_example_test name expression)
  add_test(NAME example.${name}
    COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/docs/check_example.sh" "${expression}" $<TARGET_FILE:${name}> ${ARGN})
  set_tests_properties(example.${name} PROPERTIES LABELS project RESOURCE_LOCK kernel TIMEOUT 900)
endfunction()

vmm_add_example_test(hello_guest "[0-9]+ MiB resident, [1-9][0-9]* MiB swapped, every word is as written")
vmm_add_example_test(page_sharing "^saved: [1-9][0-9.]* MiB" --guests 2 --guest 16)
vmm_add_example_test(pmr_container "a neighbour grows to 160 MiB")
vmm_add_example_test(idle_tax "75 % +[0-9.]+ +[0-9.]+" --seconds 4 --guest 64 --memory 96 --sample 1)
vmm_add_example_test(balloon_vs_swap "25 % +balloon" --memory 32 --take 0,25 --turns 1)
vmm_add_example_test(sqlite_tenants "^2 databases, 0 differ, [1-9]" --guests 2 --size 16 --reference 4 --seconds 2)
