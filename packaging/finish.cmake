# Called by cpack when everything is in its packages' directories and before it is packed: what Debian wants in a
# package and `cmake --install` does not give: copyright and changelogs, compressed manual pages, archives without debug
# symbols.
cmake_minimum_required(VERSION 3.25)

function(compress name)  # the same file from the same content
  execute_process(COMMAND gzip -9nf "${name}" COMMAND_ERROR_IS_FATAL ANY)
endfunction()

foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  set(root "${CPACK_TEMPORARY_DIRECTORY}/${component}")
  string(TOUPPER "${component}" upper)
  set(package "${CPACK_DEBIAN_${upper}_PACKAGE_NAME}")

  set(doc "${root}${CPACK_PACKAGING_INSTALL_PREFIX}/share/doc/${package}")
  configure_file("${CPACK_VMM_SOURCE}/packaging/copyright" "${doc}/copyright" COPYONLY)
  configure_file("${CPACK_VMM_SOURCE}/CHANGELOG.md" "${doc}/changelog" COPYONLY)
  configure_file("${CPACK_VMM_PACKAGING}/changelog" "${doc}/changelog.Debian" COPYONLY)
  compress("${doc}/changelog")
  compress("${doc}/changelog.Debian")

  file(GLOB_RECURSE pages "${root}${CPACK_PACKAGING_INSTALL_PREFIX}/share/man/*.[1-9]")
  foreach(page IN LISTS pages)
    compress("${page}")
  endforeach()
  file(GLOB_RECURSE archives "${root}/*.a")
  foreach(archive IN LISTS archives)
    execute_process(
      COMMAND strip --strip-debug --enable-deterministic-archives --remove-section=.comment --remove-section=.note
              "${archive}"
      COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
endforeach()
