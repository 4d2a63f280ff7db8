# Tests of the documentation (label project): that it says what the headers, the examples and the programs do. Exit
# status 77, and the reason: what checks it is not installed.

# vmm_add_docs_test(<name> <script> [arguments]...)
function(vmm_add_docs_test name script)
  add_test(NAME docs.${name} COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/docs/${script}" "${PROJECT_SOURCE_DIR}" ${ARGN})
  set_tests_properties(docs.${name} PROPERTIES LABELS project SKIP_RETURN_CODE 77 TIMEOUT 300
                       ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
endfunction()

vmm_add_docs_test(reference check_reference.sh "${PROJECT_BINARY_DIR}/docs_test")
vmm_add_docs_test(man_pages check_man_pages.py)
vmm_add_docs_test(documents check_documents.py)
vmm_add_docs_test(deploy check_deploy.sh)
if(NOT VMM_SANITIZE)  # which makes calls of its own
  add_executable(features docs/features.cc)
  vmm_test_defaults(features)
  target_link_libraries(features PRIVATE libvmm::heap libvmm::vmm Threads::Threads)
  vmm_add_docs_test(syscalls check_syscalls.py $<TARGET_FILE:features>)
  set_tests_properties(docs.syscalls PROPERTIES TIMEOUT 900)  # each feature twice, once under strace
endif()
