# cpack: the Debian packages libvmm0, libvmm-dev and vmmctl, of the components vmm_runtime, vmm_development and
# vmm_tools. `./run package` makes them of the preset `package`: installed below /usr, hardened, without RPATH. What is
# beside the installed files in them is in packaging/.

set(VMM_PACKAGE_CONTACT "libvmm authors <libvmm@users.noreply.github.com>" CACHE STRING
    "Who is named as the packages' maintainer")
set(VMM_PACKAGE_REVISION 1 CACHE STRING "The packages' Debian revision")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME libvmm)
set(CPACK_PACKAGE_CONTACT "${VMM_PACKAGE_CONTACT}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # each package has a summary of its own
set(CPACK_PACKAGING_INSTALL_PREFIX "${CMAKE_INSTALL_PREFIX}")
set(CPACK_COMPONENTS_ALL vmm_runtime vmm_development)
if(VMM_BUILD_TOOLS)
  list(APPEND CPACK_COMPONENTS_ALL vmm_tools)
endif()
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS "${PROJECT_SOURCE_DIR}/packaging/finish.cmake")

# What finish.cmake and the packages' maintainers' files are made of.
set(vmm_packaging "${PROJECT_BINARY_DIR}/packaging")
foreach(file changelog shlibs)
  configure_file("${PROJECT_SOURCE_DIR}/packaging/${file}.in" "${vmm_packaging}/${file}" @ONLY)
endforeach()
configure_file("${PROJECT_SOURCE_DIR}/packaging/triggers" "${vmm_packaging}/triggers" COPYONLY)
set(CPACK_VMM_SOURCE "${PROJECT_SOURCE_DIR}")
set(CPACK_VMM_PACKAGING "${vmm_packaging}")

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE "${VMM_PACKAGE_REVISION}")
set(CPACK_DEBIAN_PACKAGE_SOURCE libvmm)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(same "(= ${PROJECT_VERSION}-${VMM_PACKAGE_REVISION})")
# dpkg-shlibdeps finds libvmm.so.0 in the build tree; that it is libvmm0's is said here.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${PROJECT_BINARY_DIR}")

set(CPACK_DEBIAN_VMM_RUNTIME_PACKAGE_NAME libvmm0)
set(CPACK_DEBIAN_VMM_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_VMM_RUNTIME_PACKAGE_SHLIBDEPS ON)
# The trigger calls ldconfig. cpack would add scripts that do, too, unless others are named; these do not exist.
set(CPACK_DEBIAN_VMM_RUNTIME_PACKAGE_CONTROL_EXTRA "${vmm_packaging}/shlibs" "${vmm_packaging}/triggers"
    "${vmm_packaging}/postinst" "${vmm_packaging}/postrm")
set(CPACK_DEBIAN_VMM_RUNTIME_DESCRIPTION
"memory overcommitment for large regions inside a process
A program that holds many large memory regions, such as the memory of virtual
machines or of a database's tenants, keeps them within one budget: while there
is room they run at native speed, and when there is not, their coldest pages go
to swap files and come back when they are touched. Regions have homes among the
machine's NUMA nodes, may share equal pages, and be ballooned.
.
This package has the shared libraries: libvmm, and libvmm_heap, an allocator
in such a region.")

# Headers: tl::expected. The rest is what libvmm.a is linked with.
set(CPACK_DEBIAN_VMM_DEVELOPMENT_PACKAGE_NAME libvmm-dev)
set(CPACK_DEBIAN_VMM_DEVELOPMENT_PACKAGE_SECTION libdevel)
string(JOIN ", " CPACK_DEBIAN_VMM_DEVELOPMENT_PACKAGE_DEPENDS
  "libvmm0 ${same}" "libexpected-dev" "liburing-dev" "libhwloc-dev" "libnuma-dev" "libxxhash-dev")
set(CPACK_DEBIAN_VMM_DEVELOPMENT_PACKAGE_SUGGESTS "pkg-config, cmake")
set(CPACK_DEBIAN_VMM_DEVELOPMENT_DESCRIPTION
"memory overcommitment for large regions inside a process - development
A program that holds many large memory regions, such as the memory of virtual
machines or of a database's tenants, keeps them within one budget.
.
This package has the headers for C++20 and for C, the static libraries, and
what CMake and pkg-config find them by.")

set(CPACK_DEBIAN_VMM_TOOLS_PACKAGE_NAME vmmctl)
set(CPACK_DEBIAN_VMM_TOOLS_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_VMM_TOOLS_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_VMM_TOOLS_PACKAGE_DEPENDS "libvmm0 ${same}")
set(CPACK_DEBIAN_VMM_TOOLS_DESCRIPTION
"look at and control hosts of libvmm
vmmctl doctor says what the kernel and the process's limits allow libvmm to do,
and how to get what is missing. vmmctl top shows the hosts that run and their
guests as esxtop does, record and report make a page of a run, and where a host
permits it vmmctl reclaims, restores, re-homes and changes its guests.")

include(CPack)
