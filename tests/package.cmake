# Tests of what is delivered, by other programs' judgement: Debian's tools on the packages, libabigail on the symbols.
#   package               the packages of preset `package`: contents, dependencies, lintian, installed and removed
#   package.bare_machine  the same for a new user, on a Debian system of its own; label vm_full: it fetches packages
#   abi.<library>         what the library offers is what tests/abi/<library>.abi says
# Exit status 77 is a skip, and its reason is printed.

if(VMM_SANITIZE OR VMM_THREAD_SAFETY_ANALYSIS)
  return()
endif()

add_test(NAME package COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/package/package_test.sh" "${PROJECT_SOURCE_DIR}")
set_tests_properties(package PROPERTIES LABELS package RESOURCE_LOCK packages TIMEOUT 3600 SKIP_RETURN_CODE 77)
add_test(NAME package.bare_machine
  COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/package/bare_machine.sh" "${PROJECT_SOURCE_DIR}")
set_tests_properties(package.bare_machine PROPERTIES LABELS vm_full RESOURCE_LOCK packages TIMEOUT 3600
                     SKIP_RETURN_CODE 77)

# How types are described depends on the compiler. ./run abi writes the descriptions.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  foreach(library libvmm libvmm_heap)
    if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/abi/${library}.abi")
      message(WARNING "tests/abi/${library}.abi is not there: nothing compares what ${library} offers. ./run abi writes it")
      continue()
    endif()
    string(REPLACE libvmm vmm target ${library})
    add_test(NAME abi.${library}
      COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/abi/check_abi.sh" $<TARGET_FILE:${target}>
              "${CMAKE_CURRENT_SOURCE_DIR}/abi/${library}.abi" "${PROJECT_SOURCE_DIR}")
    set_tests_properties(abi.${library} PROPERTIES LABELS project TIMEOUT 900 SKIP_RETURN_CODE 77)
  endforeach()
endif()
