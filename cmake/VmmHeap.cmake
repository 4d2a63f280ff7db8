# libvmm_heap.so and libvmm_heap.a: lib/heap with a private copy of jemalloc.
#
# The members of libjemalloc_pic.a that mallocx needs are linked into one object. What lib/heap calls is renamed to
# vmm_je_*, everything else becomes local to the object, malloc and free among it; operator new stays out, since nothing
# refers to it. What jemalloc would ask the environment for its settings with, and be called at a fork by, is led to
# lib/heap/jemalloc.cc.

find_path(VMM_JEMALLOC_INCLUDE jemalloc/jemalloc.h REQUIRED)
find_library(VMM_JEMALLOC_ARCHIVE libjemalloc_pic.a REQUIRED)
mark_as_advanced(VMM_JEMALLOC_INCLUDE VMM_JEMALLOC_ARCHIVE)

set(vmm_jemalloc "${PROJECT_BINARY_DIR}/vmm_jemalloc")
set(names mallocx xallocx dallocx sallocx mallctl mallctlnametomib mallctlbymib malloc_conf)
set(renamed "")
set(kept "")
foreach(name IN LISTS names)
  string(APPEND renamed "${name} vmm_je_${name}\n")
  string(APPEND kept "vmm_je_${name}\n")
endforeach()
string(APPEND renamed "je_opt_cache_oblivious vmm_je_opt_cache_oblivious\n")
string(APPEND kept "vmm_je_opt_cache_oblivious\n")
foreach(name secure_getenv readlink pthread_atfork)
  string(APPEND renamed "${name} vmm_je_${name}\n")
endforeach()
file(CONFIGURE OUTPUT "${vmm_jemalloc}/renamed" CONTENT "${renamed}")
file(CONFIGURE OUTPUT "${vmm_jemalloc}/kept" CONTENT "${kept}")
add_custom_command(
  OUTPUT "${vmm_jemalloc}/vmm_jemalloc.o"
  COMMAND "${CMAKE_CXX_COMPILER}" -r -nostdlib "-Wl,-u,mallocx" "${VMM_JEMALLOC_ARCHIVE}" -o "${vmm_jemalloc}/merged.o"
  COMMAND "${CMAKE_OBJCOPY}" "--redefine-syms=${vmm_jemalloc}/renamed" "${vmm_jemalloc}/merged.o"
  COMMAND "${CMAKE_OBJCOPY}" "--keep-global-symbols=${vmm_jemalloc}/kept"
          "${vmm_jemalloc}/merged.o" "${vmm_jemalloc}/vmm_jemalloc.o"
  DEPENDS "${VMM_JEMALLOC_ARCHIVE}" "${vmm_jemalloc}/renamed" "${vmm_jemalloc}/kept"
  COMMENT "Making a private jemalloc of ${VMM_JEMALLOC_ARCHIVE}"
  VERBATIM)
# One rule for both libraries, not one in each.
add_custom_target(vmm_jemalloc DEPENDS "${vmm_jemalloc}/vmm_jemalloc.o")
set_source_files_properties("${vmm_jemalloc}/vmm_jemalloc.o" PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)

file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/lib/heap/*.cc")
add_library(vmm_heap_objects OBJECT ${sources})
vmm_target_defaults(vmm_heap_objects)
set_target_properties(vmm_heap_objects PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_include_directories(vmm_heap_objects
  PUBLIC "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/lib"
  PRIVATE "${VMM_JEMALLOC_INCLUDE}")
target_link_libraries(vmm_heap_objects PUBLIC tl::expected Threads::Threads)

# libvmm.so shows its public names only: what is used of its insides comes along. It has no state that the two would
# have to share; error.cc, which has, stays out.
file(GLOB insides "${PROJECT_SOURCE_DIR}/lib/base/check.cc" "${PROJECT_SOURCE_DIR}/lib/base/mutex.cc"
     "${PROJECT_SOURCE_DIR}/lib/os/fork_count.cc")
add_library(vmm_heap SHARED $<TARGET_OBJECTS:vmm_heap_objects> "${vmm_jemalloc}/vmm_jemalloc.o" ${insides})
add_library(vmm_heap_static STATIC $<TARGET_OBJECTS:vmm_heap_objects> "${vmm_jemalloc}/vmm_jemalloc.o")
add_library(libvmm::heap ALIAS vmm_heap)
add_library(libvmm::heap_static ALIAS vmm_heap_static)

foreach(kind "" _static)
  set(target vmm_heap${kind})
  vmm_target_defaults(${target})
  add_dependencies(${target} vmm_jemalloc)
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME vmm_heap EXPORT_NAME heap LINKER_LANGUAGE CXX
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_include_directories(${target}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE "${PROJECT_SOURCE_DIR}/lib")
  target_link_libraries(${target} PUBLIC vmm${kind} PRIVATE Threads::Threads ${CMAKE_DL_LIBS} m)
endforeach()

vmm_shared_library(vmm_heap libvmm_heap.map)
set_target_properties(vmm_heap PROPERTIES INSTALL_RPATH "$ORIGIN")
# jemalloc's keys of thread-local data have destructors in the library: it may not be unloaded.
target_link_options(vmm_heap PRIVATE LINKER:-z,nodelete)
if(NOT VMM_SANITIZE)
  target_link_options(vmm_heap PRIVATE LINKER:--no-undefined)
endif()
