# The last words of `cmake --install`: what it takes until programs find the library where it is. Not for a package's tree.
if(DEFINED ENV{DESTDIR})
  return()
endif()

cmake_path(ABSOLUTE_PATH libdir BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX} NORMALIZE)
find_program(ldconfig ldconfig PATHS /usr/sbin /sbin NO_CACHE)
execute_process(COMMAND ${ldconfig} -N -X -v OUTPUT_VARIABLE searched ERROR_QUIET)
string(FIND "\n${searched}" "\n${libdir}:" at)
if(NOT at EQUAL -1)
  message(STATUS "Programs find libipc.so.0 once `ldconfig` was run, as root")
else()
  message(STATUS "No program looks for libraries in ${libdir} by itself: link yours with -Wl,-rpath,${libdir}, or run them \
with LD_LIBRARY_PATH=${libdir}. pkg-config finds it with PKG_CONFIG_PATH=${libdir}/pkgconfig, and CMake with \
-DCMAKE_PREFIX_PATH=${CMAKE_INSTALL_PREFIX}")
endif()
