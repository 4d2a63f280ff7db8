# Tests of vmmctl: of its parts by themselves (tests/unit/tools, label unit), and of the program against a host that
# is not one (tests/tools, label tools): its screen is read through tmux, its report through Chromium.

find_package(nlohmann_json REQUIRED)
add_library(vmmctl_fake STATIC tools/fake_host.cc tools/scenario.cc)
vmm_test_defaults(vmmctl_fake)
target_include_directories(vmmctl_fake PUBLIC "${CMAKE_CURRENT_SOURCE_DIR}")
target_link_libraries(vmmctl_fake PUBLIC nlohmann_json::nlohmann_json Threads::Threads)
add_executable(vmmctl_fake_host tools/fake_host_main.cc)
vmm_test_defaults(vmmctl_fake_host)
target_link_libraries(vmmctl_fake_host PRIVATE vmmctl_fake)

# They see what vmmctl sees: libvmm.so and its public headers.
file(GLOB sources CONFIGURE_DEPENDS unit/tools/*_test.cc)
if(sources)
  add_executable(vmmctl_tests ${sources})
  vmm_test_defaults(vmmctl_tests)
  target_link_libraries(vmmctl_tests PRIVATE vmmctl_parts vmmctl_fake GTest::gmock GTest::gtest GTest::gtest_main)
  vmm_discover(vmmctl_tests unit.tools. "*" LABELS unit TIMEOUT 120)
endif()

add_test(NAME tools.man_page
  COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/tools/check_man_page.sh" "${PROJECT_SOURCE_DIR}/tools/vmmctl/vmmctl.1"
          $<TARGET_FILE:vmmctl>)
set_tests_properties(tools.man_page PROPERTIES LABELS tools SKIP_RETURN_CODE 77)

file(GLOB sources CONFIGURE_DEPENDS tools/*_test.cc)
if(sources)
  add_executable(tools_tests ${sources} tools/program.cc tools/terminal.cc)
  vmm_test_defaults(tools_tests)
  target_compile_definitions(tools_tests PRIVATE VMMCTL_PROGRAM="$<TARGET_FILE:vmmctl>")
  target_link_libraries(tools_tests PRIVATE vmmctl_parts vmmctl_fake GTest::gmock GTest::gtest GTest::gtest_main)
  add_dependencies(tools_tests vmmctl)
  vmm_discover(tools_tests tools. "*" LABELS tools TIMEOUT 300)
endif()

# vmmctl run: with a program that checks all it gets, and with the distribution's (tests/run, label tools). Not under
# sanitizers, which have an allocator of their own.
if(TARGET vmm_run)
  add_library(run_subject_plugin MODULE run/subject/plugin.cc)
  add_executable(run_subject run/subject/main.cc run/subject/memory.cc run/subject/processes.cc)
  add_executable(run_static run/subject/static.cc)
  target_link_options(run_static PRIVATE -static)
  add_executable(run_tests run/command_test.cc run/subject_test.cc run/programs_test.cc run/measured.cc
                 tools/program.cc)
  foreach(target run_subject_plugin run_subject run_static run_tests)
    vmm_test_defaults(${target})
  endforeach()
  target_link_libraries(run_subject_plugin PRIVATE Threads::Threads)
  target_compile_definitions(run_subject PRIVATE RUN_SUBJECT_PLUGIN="$<TARGET_FILE:run_subject_plugin>")
  target_link_libraries(run_subject PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
  # The compiler knows malloc and would leave out what is only allocated and freed.
  target_compile_options(run_subject PRIVATE -fno-builtin)
  target_include_directories(run_tests PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  target_compile_definitions(run_tests PRIVATE
    VMMCTL_PROGRAM="$<TARGET_FILE:vmmctl>" RUN_SUBJECT="$<TARGET_FILE:run_subject>"
    RUN_SUBJECT_PLUGIN="$<TARGET_FILE:run_subject_plugin>" RUN_STATIC_PROGRAM="$<TARGET_FILE:run_static>"
    RUN_WORK="${CMAKE_CURRENT_SOURCE_DIR}/run/work")
  target_link_libraries(run_tests PRIVATE libvmm::vmm GTest::gmock GTest::gtest GTest::gtest_main)
  add_dependencies(run_tests vmmctl vmm_run run_subject run_subject_plugin run_static)
  vmm_discover(run_tests tools. "*" LABELS tools TIMEOUT 300 RESOURCE_LOCK kernel)
endif()
