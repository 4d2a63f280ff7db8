# Tests of the project itself: what the layers include, what libvmm.so exports, what is installed.

add_test(NAME layering COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/layering/check_layers.sh" "${PROJECT_SOURCE_DIR}")
add_test(NAME layering.selftest COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/layering/check_layers_selftest.sh")
set_tests_properties(layering layering.selftest PROPERTIES LABELS project)
add_subdirectory(headers)

# A library with a sanitizer in it exports the sanitizer's names and cannot be linked by an ordinary program.
if(NOT VMM_SANITIZE)
  add_test(NAME exports
    COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/install/check_exports.sh" $<TARGET_FILE:vmm> $<TARGET_SONAME_FILE_NAME:vmm>
            _ZN3vmm14error_categoryEv LIBVMM_${VMM_CXX_ABI} LIBVMM_C_${PROJECT_VERSION_MAJOR}
            "${PROJECT_SOURCE_DIR}/include/vmm/c.h")
  # Nothing of jemalloc; and one copy of what the two libraries share: the category of errors is libvmm.so's.
  add_test(NAME exports.heap
    COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/install/check_exports.sh" $<TARGET_FILE:vmm_heap>
            $<TARGET_SONAME_FILE_NAME:vmm_heap> _ZN3vmm4Heap6createERNS_5GuestERKNS_11HeapOptionsE
            LIBVMM_HEAP_${VMM_CXX_ABI})
  add_test(NAME exports.static
    COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/install/check_archives.sh" $<TARGET_FILE:vmm_static>
            $<TARGET_FILE:vmm_heap_static>)
  add_test(NAME install.consumer
    COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/install/install_test.sh" "${CMAKE_COMMAND}" "${PROJECT_BINARY_DIR}"
            "${PROJECT_SOURCE_DIR}" "${CMAKE_CXX_COMPILER}" "${CMAKE_GENERATOR}" "${CMAKE_C_COMPILER}")
  set_tests_properties(exports exports.heap exports.static install.consumer PROPERTIES
                       LABELS project RESOURCE_LOCK build_tree TIMEOUT 600)
endif()
