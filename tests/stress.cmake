# stress.<back end>: random operations against an oracle. $VMM_STRESS_SECONDS (30) and $VMM_STRESS_SEED (1)
# are read when the test starts. Exit status 77 is a skip: the kernel lacks the back end.

file(GLOB sources CONFIGURE_DEPENDS stress/*.cc)
if(sources)
  add_executable(stress_tests ${sources})
  vmm_test_defaults(stress_tests)
  vmm_precompile(stress_tests)
  target_link_libraries(stress_tests PRIVATE vmm_test_support)
  foreach(isolation move write_protect)
    string(CONCAT command "exec \"$0\" --isolation ${isolation} "
                          "--seconds \"\${VMM_STRESS_SECONDS:-30}\" --seed \"\${VMM_STRESS_SEED:-1}\"")
    add_test(NAME stress.${isolation} COMMAND sh -c "${command}" $<TARGET_FILE:stress_tests>)
    set_tests_properties(stress.${isolation} PROPERTIES LABELS stress RUN_SERIAL ON TIMEOUT 1800 SKIP_RETURN_CODE 77)
  endforeach()
endif()
