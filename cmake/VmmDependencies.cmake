# What the library itself needs. Everything comes from the system; nothing is downloaded.
# libvmm-config.cmake.in repeats the part that a consumer needs.

find_package(Threads REQUIRED)
find_package(tl-expected REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(VMM_URING REQUIRED IMPORTED_TARGET liburing)
pkg_check_modules(VMM_HWLOC REQUIRED IMPORTED_TARGET hwloc)
pkg_check_modules(VMM_NUMA REQUIRED IMPORTED_TARGET numa)
pkg_check_modules(VMM_XXHASH REQUIRED IMPORTED_TARGET libxxhash)
