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
