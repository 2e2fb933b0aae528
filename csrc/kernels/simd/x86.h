// SPDX-License-Identifier: Apache-2.0
#pragma once

// The only way into x86 intrinsics. In the OCTAVO_EMULATE build the AVX-512 files get SIMDe's
// portable versions under the native names, and the AVX-VNNI files their one instruction, so that
// these rows can be tested bit for bit on a CPU with AVX2 (tests only: slow, and never in a wheel).
#if OCTAVO_EMULATE_AVX512
#include "kernels/simd/emulate_avx512.h"
#elif OCTAVO_EMULATE_AVXVNNI
#include "kernels/simd/emulate_avxvnni.h"
#else
#include <immintrin.h>
#endif
