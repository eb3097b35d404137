// CMake refuses a target without any source.
