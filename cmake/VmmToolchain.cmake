# Compiler settings, and vmm_target_defaults() which every target of this project goes through.

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
  endif()
  find_program(VMM_CCACHE ccache)
  mark_as_advanced(VMM_CCACHE)
  foreach(language C CXX)
    if(VMM_CCACHE AND NOT DEFINED CMAKE_${language}_COMPILER_LAUNCHER)
      # Of what a precompiled header contains, which the tests have, it knows the macros and dates only when told so.
      set(CMAKE_${language}_COMPILER_LAUNCHER
          "${CMAKE_COMMAND}" -E env CCACHE_SLOPPINESS=pch_defines,time_macros "${VMM_CCACHE}")
    endif()
  endforeach()
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
endif()

if(VMM_THREAD_SAFETY_ANALYSIS AND NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "VMM_THREAD_SAFETY_ANALYSIS needs clang; the compiler is ${CMAKE_CXX_COMPILER_ID}. "
                      "Use the preset 'tsa' or set CMAKE_CXX_COMPILER=clang++-14.")
endif()

# Language level, warnings, sanitizers and the debug checks that change what internal headers contain.
function(vmm_target_defaults target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wconversion -Wshadow)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # False alarms on string concatenation: https://gcc.gnu.org/bugzilla/show_bug.cgi?id=105651
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
  if(VMM_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(VMM_THREAD_SAFETY_ANALYSIS)
    target_compile_options(${target} PRIVATE -Wthread-safety -Wthread-safety-beta)
  endif()
  if(VMM_RANK_CHECKS)
    target_compile_definitions(${target} PRIVATE VMM_RANK_CHECKS)
  endif()
  if(VMM_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${VMM_SANITIZE} -fno-omit-frame-pointer)
    if(VMM_SANITIZE MATCHES "undefined")
      # The check of virtual tables opens a pipe, which the tests of RLIMIT_NOFILE leave it no descriptors for.
      target_compile_options(${target} PRIVATE -fno-sanitize-recover=undefined -fno-sanitize=vptr)
    endif()
    get_target_property(type ${target} TYPE)
    if(NOT type STREQUAL "STATIC_LIBRARY" AND NOT type STREQUAL "OBJECT_LIBRARY")
      target_link_options(${target} PRIVATE -fsanitize=${VMM_SANITIZE})
    endif()
  endif()
endfunction()

# The same for a target in C99, whose compiler may be another.
function(vmm_c_target_defaults target)
  set_target_properties(${target} PROPERTIES C_STANDARD 99 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF)
  target_compile_options(${target} PRIVATE -pedantic -Wall -Wextra -Wshadow)
  if(VMM_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(VMM_SANITIZE)
    # The sanitizer's run-time library is the C++ compiler's.
    set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
    target_link_options(${target} PRIVATE -fsanitize=${VMM_SANITIZE})
  endif()
endfunction()
