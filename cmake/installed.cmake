# The last words of `cmake --install`: what it takes until programs find the library where it is, and shells the
# completion. Not for a package's tree.
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

# Without the command there is none. These two are looked into by bash-completion and zsh themselves.
if(DEFINED datadir)
  cmake_path(ABSOLUTE_PATH datadir BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX} NORMALIZE)
  if(NOT datadir MATCHES "^/usr(/local)?/share$")
    message(STATUS "No shell looks for completion in ${datadir} by itself: to have `ipc` completed, put `source \
${datadir}/bash-completion/completions/ipc` into ~/.bashrc, or `fpath+=(${datadir}/zsh/site-functions)` into ~/.zshrc, before \
compinit")
  endif()
endif()
