# Processes that end, or unload the library, while hosts and guests are alive or have been: programs of their own, since
# what a test's binary links and has in static storage is part of the matter. Label kernel: they run under the
# sanitizers.

# With libvmm.so and with libvmm.a: the library's own statics are destroyed at other times.
foreach(kind "" _static)
  set(program process_ends${kind})
  add_executable(${program} process/ends.cc process/ends_first.cc process/ends_second.cc)
  vmm_target_defaults(${program})
  target_include_directories(${program} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  target_link_libraries(${program} PRIVATE libvmm::vmm${kind} Threads::Threads)
  add_test(NAME process.ends${kind}
    COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/process/ends_test.sh" $<TARGET_FILE:${program}>)
  list(APPEND tests process.ends${kind})
  add_dependencies(kernel_tests ${program})
endforeach()

# It is not linked with the library: it loads it.
add_executable(process_unload process/unload.c)
vmm_c_target_defaults(process_unload)
target_include_directories(process_unload PRIVATE "${PROJECT_SOURCE_DIR}/include")
target_link_libraries(process_unload PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
add_dependencies(process_unload vmm)
add_test(NAME process.unload COMMAND process_unload $<TARGET_FILE:vmm> /var/tmp)
list(APPEND tests process.unload)
add_dependencies(kernel_tests process_unload)

set_tests_properties(${tests} PROPERTIES LABELS kernel RESOURCE_LOCK kernel TIMEOUT 300)
