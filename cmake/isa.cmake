# SPDX-License-Identifier: Apache-2.0
# The only place with instruction-set compiler flags.
#
# A source csrc/kernels/<family>/<isa>.cc or <isa>_*.cc is compiled for that ISA; everything else
# gets the baseline of the architecture (SSE2 on x86-64), so that `import octavo` works on any CPU.
# A row is built when it belongs to the host architecture and the compiler knows all its flags;
# every file then sees OCTAVO_HAVE_<ISA>=1.
include(CheckCXXCompilerFlag)

set(OCTAVO_ISAS scalar avx2 avxvnni avx512vnni neon neondot neoni8mm)

set(OCTAVO_ARCH_scalar any)
set(OCTAVO_FLAGS_scalar "")

set(OCTAVO_ARCH_avx2 x86)
set(OCTAVO_FLAGS_avx2 -mavx2 -mfma -mf16c -mpclmul)

set(OCTAVO_ARCH_avxvnni x86)
set(OCTAVO_FLAGS_avxvnni -mavx2 -mfma -mf16c -mpclmul -mavxvnni)

# 512-bit vectors on purpose: on every CPU with VNNI the licence loss is below the gain of the width.
set(OCTAVO_ARCH_avx512vnni x86)
set(OCTAVO_FLAGS_avx512vnni -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512vbmi
                            -mfma -mprefer-vector-width=512)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC's own _mm512_undefined_*() warns (GCC bug 105593).
  list(APPEND OCTAVO_FLAGS_avx512vnni -Wno-uninitialized -Wno-maybe-uninitialized)
endif()

set(OCTAVO_ARCH_neon arm)
set(OCTAVO_FLAGS_neon -march=armv8-a)

set(OCTAVO_ARCH_neondot arm)
set(OCTAVO_FLAGS_neondot -march=armv8.2-a+dotprod)

set(OCTAVO_ARCH_neoni8mm arm)
set(OCTAVO_FLAGS_neoni8mm -march=armv8.2-a+dotprod+i8mm)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(OCTAVO_ARCH x86)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  set(OCTAVO_ARCH arm)
else()
  set(OCTAVO_ARCH other)
endif()

# In-order cores wait for a pair of 128-bit loads (six cycles on a Cortex-A55, by LLVM's model) longer
# than for two single ones, which cost the others nothing. gcc makes pairs by itself.
if(OCTAVO_ARCH STREQUAL "arm")
  check_cxx_compiler_flag(-moverride=tune=no_ldp_stp_qregs OCTAVO_COMPILER_SPLITS_PAIRS)
  if(OCTAVO_COMPILER_SPLITS_PAIRS)
    list(APPEND OCTAVO_FLAGS_neon -moverride=tune=no_ldp_stp_qregs)
  endif()
endif()

# Under OCTAVO_EMULATE the AVX-512 and AVX-VNNI files reach their intrinsics through emulations (see
# csrc/kernels/simd/x86.h) and may use nothing above AVX2 and FMA.
if(OCTAVO_EMULATE)
  if(NOT OCTAVO_ARCH STREQUAL "x86")
    message(FATAL_ERROR "OCTAVO_EMULATE needs an x86-64 host")
  endif()
  # -Wno-*: 64-byte vectors without AVX-512 have an ABI note, and lose alignment as template arguments
  # (the emulation only copies them).
  set(OCTAVO_FLAGS_avx512vnni -mavx2 -mfma -mf16c -mpclmul -Wno-psabi -Wno-ignored-attributes -Wno-uninitialized
                              -Wno-maybe-uninitialized)
  set(OCTAVO_FLAGS_avxvnni ${OCTAVO_FLAGS_avx2})
endif()

# Sets OCTAVO_BUILT_<isa> and OCTAVO_ISA_DEFINITIONS in the caller's scope.
function(octavo_detect_isas)
  set(definitions "")
  set(built "")
  foreach(isa IN LISTS OCTAVO_ISAS)
    set(OCTAVO_BUILT_${isa} OFF)
    if(OCTAVO_ARCH_${isa} STREQUAL "any")
      set(OCTAVO_BUILT_${isa} ON)
    elseif(OCTAVO_ARCH_${isa} STREQUAL OCTAVO_ARCH)
      string(REPLACE ";" " " flags "${OCTAVO_FLAGS_${isa}}")
      check_cxx_compiler_flag("${flags}" OCTAVO_COMPILER_HAS_${isa})
      set(OCTAVO_BUILT_${isa} ${OCTAVO_COMPILER_HAS_${isa}})
    endif()
    set(OCTAVO_BUILT_${isa} ${OCTAVO_BUILT_${isa}} PARENT_SCOPE)
    if(OCTAVO_BUILT_${isa})
      string(TOUPPER ${isa} upper)
      list(APPEND definitions OCTAVO_HAVE_${upper}=1)
      list(APPEND built ${isa})
    endif()
  endforeach()
  message(STATUS "octavo: ISA rows built: ${built}")
  set(OCTAVO_ISA_DEFINITIONS ${definitions} PARENT_SCOPE)
endfunction()

# The ISA that a kernel source is named after, or "" (pack.cc, select.cc: baseline code).
function(octavo_isa_of source result)
  get_filename_component(name "${source}" NAME_WE)
  string(REGEX REPLACE "_.*" "" prefix "${name}")
  if(prefix IN_LIST OCTAVO_ISAS)
    set(${result} ${prefix} PARENT_SCOPE)
  else()
    set(${result} "" PARENT_SCOPE)
  endif()
endfunction()

# Splits kernel sources into `<prefix>_MICRO` (ISA files that are built, with their flags set) and
# `<prefix>_PLAIN`; ISA files of rows that are not built are left out.
function(octavo_kernel_sources prefix)
  set(micro "")
  set(plain "")
  foreach(source IN LISTS ARGN)
    octavo_isa_of("${source}" isa)
    if(isa STREQUAL "")
      list(APPEND plain "${source}")
    elseif(OCTAVO_BUILT_${isa})
      list(APPEND micro "${source}")
      set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_OPTIONS ${OCTAVO_FLAGS_${isa}})
      if(OCTAVO_EMULATE AND isa MATCHES "^avx512")
        set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_DEFINITIONS OCTAVO_EMULATE_AVX512=1)
      elseif(OCTAVO_EMULATE AND isa STREQUAL "avxvnni")
        set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_DEFINITIONS OCTAVO_EMULATE_AVXVNNI=1)
      endif()
    endif()
  endforeach()
  set(${prefix}_MICRO ${micro} PARENT_SCOPE)
  set(${prefix}_PLAIN ${plain} PARENT_SCOPE)
endfunction()
