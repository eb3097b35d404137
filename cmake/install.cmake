# cmake --install, pkg-config (libipc) and find_package(libipc), and the target `uninstall`.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/libipc)

install(TARGETS libipc EXPORT libipc LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES include/ipc/ipc.h include/ipc/ipc.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/ipc)
install(EXPORT libipc NAMESPACE libipc:: FILE libipc-targets.cmake DESTINATION ${package_dir})

configure_package_config_file(cmake/libipc-config.cmake.in libipc-config.cmake INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may break what was built against the one before.
write_basic_package_version_file(libipc-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/libipc-config.cmake ${PROJECT_BINARY_DIR}/libipc-config-version.cmake
        DESTINATION ${package_dir})

# The .pc file finds its prefix from where it lies, so that an installed tree can be moved.
cmake_path(IS_ABSOLUTE CMAKE_INSTALL_LIBDIR absolute)
if(absolute)
  set(pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
  file(RELATIVE_PATH pc_up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" pc_up "${pc_up}")
  set(pc_prefix "\${pcfiledir}/${pc_up}")
endif()
foreach(dir LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE ${CMAKE_INSTALL_${dir}})
    set(pc_${dir} ${CMAKE_INSTALL_${dir}})
  else()
    set(pc_${dir} "\${prefix}/${CMAKE_INSTALL_${dir}}")
  endif()
endforeach()
configure_file(cmake/libipc.pc.in libipc.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/libipc.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# What installed.cmake, which comes last, has to know.
install(CODE "set(libdir \"${CMAKE_INSTALL_LIBDIR}\")")

add_custom_target(uninstall COMMAND ${CMAKE_COMMAND} -P ${PROJECT_SOURCE_DIR}/cmake/uninstall.cmake
                  WORKING_DIRECTORY ${PROJECT_BINARY_DIR})
