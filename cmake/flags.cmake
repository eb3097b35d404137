# How the library is compiled and linked, and why.

find_package(Threads REQUIRED)

# For the stream transports: its header. The library itself is loaded by those who open a stream.
find_path(LIBUV_INCLUDE_DIR uv.h)
if(NOT LIBUV_INCLUDE_DIR)
  message(FATAL_ERROR "uv.h was not found: install libuv1-dev (Debian, Ubuntu) or libuv-devel (Fedora)")
endif()

if(NOT "${LIBIPC_SANITIZE}" MATCHES "^(|address|thread)$")
  message(FATAL_ERROR "LIBIPC_SANITIZE is '${LIBIPC_SANITIZE}': use address or thread, or leave it empty")
endif()

# For everything of ours, tests included.
add_compile_options(-Wall -Wextra $<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
if(LIBIPC_SANITIZE STREQUAL "address")
  # Not vptr: that check opens a pipe, and takes every object for a wrong one where no descriptor is free.
  add_compile_options(-fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(LIBIPC_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
endif()

# A build never writes into a library that some process has loaded: that could crash it. It links into a new file, and
# renames it over the old one, so that a loader sees the one or the other, whole.
set(CMAKE_CXX_CREATE_SHARED_LIBRARY
    "<CMAKE_CXX_COMPILER> <CMAKE_SHARED_LIBRARY_CXX_FLAGS> <LANGUAGE_COMPILE_FLAGS> <LINK_FLAGS> \
<CMAKE_SHARED_LIBRARY_CREATE_CXX_FLAGS> <SONAME_FLAG><TARGET_SONAME> -o <TARGET>.new <OBJECTS> <LINK_LIBRARIES>"
    "mv -f <TARGET>.new <TARGET>")

# Of fmt the headers alone, so that what is installed needs no other library. With sanitizers, g++ takes ten seconds for
# its functions in each file: there they come from the library of it.
if(LIBIPC_SANITIZE)
  find_package(fmt REQUIRED)
endif()
function(libipc_use_fmt target scope)
  if(LIBIPC_SANITIZE)
    target_link_libraries(${target} ${scope} fmt::fmt)
  else()
    target_compile_definitions(${target} ${scope} FMT_HEADER_ONLY)
  endif()
endfunction()

function(libipc_compile_flags target scope)
  target_compile_features(${target} ${scope} cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF CXX_VISIBILITY_PRESET hidden
                                             VISIBILITY_INLINES_HIDDEN ON POSITION_INDEPENDENT_CODE ON)
  # A message's way through capi/ and src/ is a few dozen instructions in five files: as one, it takes a fifth less time.
  if(NOT LIBIPC_SANITIZE)
    set_target_properties(${target} PROPERTIES INTERPROCEDURAL_OPTIMIZATION_RELEASE ON
                                               INTERPROCEDURAL_OPTIMIZATION_RELWITHDEBINFO ON)
    # In one part: for several, g++ wants make, and warns where there is none.
    target_link_options(${target} ${scope} $<$<CXX_COMPILER_ID:GNU>:-flto-partition=one>)
  endif()
  # Without -fno-gnu-unique, g++ makes symbols that keep the library loaded after dlclose.
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)
  libipc_use_fmt(${target} ${scope})
  # A second thread inside a handle is looked for where speed does not matter.
  if(LIBIPC_SANITIZE)
    target_compile_definitions(${target} ${scope} IPC_DEBUG_THREADS=1)
  else()
    target_compile_definitions(${target} ${scope} $<$<CONFIG:Debug>:IPC_DEBUG_THREADS=1>)
  endif()
endfunction()

function(libipc_link_flags target map)
  target_link_options(
    ${target} PRIVATE
    # Exactly the names of ipc.h are exported, under a version node.
    -Wl,--version-script=${map}
    -Wl,-z,relro,-z,now
    # ipc_version() tells builds apart by it.
    -Wl,--build-id)
  set_target_properties(${target} PROPERTIES LINK_DEPENDS ${map})
  if(NOT LIBIPC_SANITIZE)
    # A program may bring an older libstdc++ than the compiler's, as Julia does. So the library has its own, hidden.
    target_compile_definitions(${target} PRIVATE LIBIPC_OWN_LIBSTDCXX)
    target_link_options(${target} PRIVATE -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL -Wl,-z,defs)
  endif()
endfunction()
