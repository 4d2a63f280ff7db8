# The layers of lib/ as targets vmm_<layer>, and libvmm.so and libvmm.a made of them.
# The list reads bottom-up: a layer sees itself and those before it. tests/layering checks the includes.

set(VMM_LAYERS base policy os topology region sharing reclaim migrate host)
set(VMM_NEEDS_os PkgConfig::VMM_URING PkgConfig::VMM_NUMA)
set(VMM_NEEDS_topology PkgConfig::VMM_HWLOC)
set(VMM_NEEDS_sharing PkgConfig::VMM_XXHASH)
set(VMM_NEEDS_reclaim PkgConfig::VMM_XXHASH)

# Statistics of a guest begin as 900 bytes of zeros: with `rep stos`, as g++ has it, they take twice the time in all.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set_source_files_properties("${PROJECT_SOURCE_DIR}/lib/host/host_stats.cc" PROPERTIES
    COMPILE_OPTIONS "-mmemset-strategy=libcall:-1:noalign")
endif()
set_source_files_properties("${PROJECT_SOURCE_DIR}/lib/host/version.cc" PROPERTIES
  COMPILE_DEFINITIONS "VMM_VERSION=\"${PROJECT_VERSION}\"")

set(vmm_objects "")
set(below "")
foreach(layer IN LISTS VMM_LAYERS)
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/lib/${layer}/*.cc")
  if(sources)
    add_library(vmm_${layer} OBJECT ${sources})
    vmm_target_defaults(vmm_${layer})
    set_target_properties(vmm_${layer} PROPERTIES
      CXX_VISIBILITY_PRESET hidden
      VISIBILITY_INLINES_HIDDEN ON)
    target_include_directories(vmm_${layer}
      PUBLIC "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/lib")
    target_link_libraries(vmm_${layer} PUBLIC ${below} tl::expected Threads::Threads ${VMM_NEEDS_${layer}})
    list(APPEND vmm_objects $<TARGET_OBJECTS:vmm_${layer}>)
    list(APPEND below vmm_${layer})
  endif()
endforeach()

add_library(vmm SHARED ${vmm_objects})
add_library(vmm_static STATIC ${vmm_objects})
add_library(libvmm::vmm ALIAS vmm)
add_library(libvmm::vmm_static ALIAS vmm_static)

foreach(target vmm vmm_static)
  vmm_target_defaults(${target})
  set_target_properties(${target} PROPERTIES OUTPUT_NAME vmm EXPORT_NAME vmm LINKER_LANGUAGE CXX)
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${target}
    PUBLIC tl::expected
    PRIVATE Threads::Threads PkgConfig::VMM_URING PkgConfig::VMM_NUMA PkgConfig::VMM_HWLOC PkgConfig::VMM_XXHASH)
endforeach()

# The nodes of the symbol maps: docs/packaging.md.
if(PROJECT_VERSION_MAJOR EQUAL 0)
  math(EXPR next "${PROJECT_VERSION_MINOR} + 1")
  set(VMM_CXX_ABI "${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}")
  set(VMM_NEXT_CXX_ABI "${PROJECT_VERSION_MAJOR}.${next}")
else()
  math(EXPR next "${PROJECT_VERSION_MAJOR} + 1")
  set(VMM_CXX_ABI "${PROJECT_VERSION_MAJOR}")
  set(VMM_NEXT_CXX_ABI "${next}")
endif()

# vmm_shared_library(<target> <map>): its version, its SONAME, and which names leave it.
function(vmm_shared_library target map)
  configure_file("${PROJECT_SOURCE_DIR}/cmake/${map}.in" "${PROJECT_BINARY_DIR}/${map}" @ONLY)
  set_target_properties(${target} PROPERTIES
    VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}
    LINK_DEPENDS "${PROJECT_BINARY_DIR}/${map}")
  target_link_options(${target} PRIVATE "LINKER:--version-script=${PROJECT_BINARY_DIR}/${map}")
endfunction()

vmm_shared_library(vmm libvmm.map)
if(NOT VMM_SANITIZE)
  target_link_options(vmm PRIVATE LINKER:--no-undefined)
endif()

# For tests and benchmarks: the static library together with the headers of lib/.
add_library(vmm_internal INTERFACE)
target_include_directories(vmm_internal INTERFACE "${PROJECT_SOURCE_DIR}/lib")
target_link_libraries(vmm_internal INTERFACE
  vmm_static Threads::Threads PkgConfig::VMM_URING PkgConfig::VMM_NUMA PkgConfig::VMM_HWLOC PkgConfig::VMM_XXHASH)
