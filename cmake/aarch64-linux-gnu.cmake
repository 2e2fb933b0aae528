# SPDX-License-Identifier: Apache-2.0
# Cross-compiles for Linux on aarch64 with Debian's g++-aarch64-linux-gnu (tools/aarch64/build).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

# The compiler brings its own C library; only Python's headers come from the sysroot. Its interpreter
# (under qemu) answers for the name of the module and the version.
set(sysroot "${CMAKE_CURRENT_LIST_DIR}/../build/aarch64-sysroot/root")
file(GLOB Python_INCLUDE_DIR "${sysroot}/usr/include/python3.*")
set(Python_INCLUDE_DIR "${Python_INCLUDE_DIR}" CACHE PATH "")
set(Python_EXECUTABLE "${CMAKE_CURRENT_LIST_DIR}/../tools/aarch64/python" CACHE FILEPATH "")
# pyconfig.h is one header that asks for <aarch64-linux-gnu/python3.x/pyconfig.h>.
set(CMAKE_CXX_FLAGS_INIT "-idirafter ${sysroot}/usr/include")

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
