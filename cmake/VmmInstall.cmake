# cmake --install: headers, libvmm.so, libvmm.a, libvmm_heap.so, libvmm_heap.a, the package libvmm, libvmm.pc and
# libvmm-heap.pc, manual pages; the target `uninstall` takes away what the last install of this build tree has put
# there.
#
# Components, each a package of its own (VmmPackage.cmake): vmm_runtime, vmm_development, vmm_tools. What names none is
# vmm_development's.

include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/libvmm")

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/vmm" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILES_MATCHING PATTERN "*.h")
# Two export sets with one target name: the package loads the one the consumer asks for.
install(TARGETS vmm vmm_heap EXPORT libvmm-shared-targets LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        COMPONENT vmm_runtime NAMELINK_COMPONENT vmm_development)
install(TARGETS vmm_static vmm_heap_static EXPORT libvmm-static-targets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
foreach(kind shared static)
  install(EXPORT libvmm-${kind}-targets NAMESPACE libvmm:: DESTINATION "${package_dir}")
endforeach()

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/libvmm-config.cmake.in"
  "${PROJECT_BINARY_DIR}/libvmm-config.cmake" INSTALL_DESTINATION "${package_dir}")
# Before 1.0 a minor version may break its users.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/libvmm-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/libvmm-config.cmake" "${PROJECT_BINARY_DIR}/libvmm-config-version.cmake"
        DESTINATION "${package_dir}")

# Paths relative to the file itself, so that the installed tree can be moved.
file(RELATIVE_PATH pc_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
foreach(name libvmm libvmm-heap)
  configure_file("${PROJECT_SOURCE_DIR}/cmake/${name}.pc.in" "${PROJECT_BINARY_DIR}/${name}.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/${name}.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endforeach()

foreach(section 3 7)
  install(FILES "${PROJECT_SOURCE_DIR}/docs/man/libvmm.${section}" DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}")
endforeach()

if(PROJECT_IS_TOP_LEVEL)
  add_custom_target(uninstall
    COMMAND "${CMAKE_COMMAND}" "-DTREE=${PROJECT_BINARY_DIR}" -P "${PROJECT_SOURCE_DIR}/cmake/uninstall.cmake"
    COMMENT "Uninstalling" VERBATIM)
endif()
