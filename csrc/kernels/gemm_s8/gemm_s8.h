// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "kernels/requant.h"

// gemm_s8: C[i][c] = requantize(bias[c] + sum_k A[i][k] * W[c][k]), A u8, W s8, C u8.
//
// One kernel for 1x1, kxk, strided, dilated, grouped convolution and linear layers: K is a list of
// `segments`, each a run of contiguous bytes at a fixed offset from the row pointer. A 1x1
// convolution has one segment; kxk on a zero-point-padded NHWC buffer has kh segments of kw*C bytes
// (kh*kw segments of C bytes when dilated); stride only changes the row pointers. No im2col.
//
// Zero points are not seen here: pack folds -z_a * sum(W) into the bias, padding holds z_a, and
// weight zero points are subtracted before packing. The accumulator wraps modulo 2^32; `prepare`
// proves that the true sum fits int32, so wrap-around on the way is harmless.
//
// A packed N-block (nr output channels) is `k4_total` steps of nr x 4 weights plus `extra_count`
// further steps whose A offset is explicit. The extra list carries what one s8 step cannot:
// the rest of a weight pair that would saturate vpmaddubsw, or of a 9-bit weight (w - zero point).
namespace octavo {

struct GemmS8Segment {
  int32_t offset;  // bytes from the row pointer
  int32_t k4;      // dword steps: ceil(length / 4); the slack weights are 0
};

struct GemmS8Block {
  const int8_t* weights;        // [k4_total][nr][4] (kernel's own type: see GemmS8Kernel::pack), 64-byte aligned
  const int32_t* bias;          // [nr] with the zero-point correction, in the kernel's column order
  const float* scale;           // [nr] requantize multipliers, in the kernel's column order
  const int32_t* extra_offset;  // [extra_count] byte offsets from the row pointer
  const int8_t* extra_weights;  // [extra_count][nr][4], 64-byte aligned
  int32_t extra_count;
  int32_t n;                    // valid columns, 1..nr; only the last block of a group has n < nr
};

struct GemmS8Args {
  // a_rows[i] + offset is read for 4*k4 bytes per segment: up to 3 bytes past a segment's end, so
  // every buffer needs 3 readable bytes of slack; their value does not matter (weights are 0).
  const uint8_t* const* a_rows;  // round_up(m, mr) entries; entries past m repeat entry m-1
  uint8_t* const* c_rows;        // likewise; exactly n bytes of a row are written, never more
  ptrdiff_t a_offset;            // added to each a_rows entry (group offset)
  int32_t m;
  const GemmS8Segment* segments;
  int32_t segment_count;
  const GemmS8Block* blocks;     // block j writes c_rows[i][j * nr .. j * nr + blocks[j].n)
  int32_t block_begin, block_end;
  Requant requant;
};

using GemmS8Fn = void (*)(const GemmS8Args& args);

// How a kernel wants its weights. Everything that differs between rows is here, so pack.cc and
// select.cc are written once.
enum class GemmS8Path : uint8_t {
  kDot,      // s8 weights, any value: vpdpbusd and the scalar row
  kMaddubs,  // s8 weights, adjacent k pairs proven not to saturate int16; the rest goes to extra
  kMadd16,   // weights stored as s16 pairs [k4_total][2][nr][2] (k0,k2 then k1,k3), any 9-bit value
};

struct GemmS8Kernel {
  const char* name;
  Isa isa;
  GemmS8Fn run;
  int16_t mr;
  int16_t nr;
  GemmS8Path path;
  // Column held at position p of a packed block: lane order that lets packs/packus emit bytes in
  // natural order with no permute. Identity for scalar.
  int16_t (*column)(int p);
};

// All rows of kernels.inc that were built, best first, scalar last.
const GemmS8Kernel* gemm_s8_kernels(int* count);
const GemmS8Kernel* find_gemm_s8(const char* name);  // nullptr when absent

// What select needs to know of a layer. `extra_share` is the share of k4 steps that the maddubs
// path would have to split (0 when not computed yet).
struct GemmS8Shape {
  int64_t m;
  int32_t n, k;
  float extra_share;
};
const GemmS8Kernel& select_gemm_s8(Isa cap, const GemmS8Shape& shape);

// Declarations of every row's entry point.
#define OCTAVO_GEMM_S8(isa, name, mr, nr, path, column) void name(const GemmS8Args& args);
#include "kernels/gemm_s8/kernels.inc"
#undef OCTAVO_GEMM_S8

}  // namespace octavo
