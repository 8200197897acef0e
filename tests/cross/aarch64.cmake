# Toolchain file: compiles for aarch64 and runs what it compiled under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)  # GoogleTest asks for C, too
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)

# Libraries and packages of this machine are of the wrong architecture. modules/ has stand-ins for
# the packages that are headers or sources only.
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR}/modules)
if(NOT CMAKE_BINARY_DIR MATCHES "/CMakeTmp|/CMakeScratch")
  include(${CMAKE_CURRENT_LIST_DIR}/modules/host_headers.cmake)
endif()
