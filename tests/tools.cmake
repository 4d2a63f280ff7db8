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
