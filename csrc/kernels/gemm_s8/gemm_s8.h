// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "kernels/requant.h"

// gemm_s8: C[i][c] = requantize(bias[c] + sum_k A[i][k] * W[c][k]), A u8, W 9-bit, C u8; A and C
// in stored form (kernels/stored.h).
//
// One kernel for 1x1, kxk, strided, dilated, grouped convolution and linear layers: K is a list of
// steps of 4 bytes (8 for smmla), each at an explicit byte offset from the row pointer. A 1x1
// convolution walks one contiguous run; kxk on a zero-point-padded NHWC buffer walks kh runs of
// kw*C bytes (kh*kw runs of C bytes when dilated); stride only changes the row pointers. No im2col.
//
// Zero points are not seen here: pack folds -z_a * sum(W) into the bias, padding holds z_a, and
// weight zero points are subtracted before packing. The accumulator wraps modulo 2^32; `prepare`
// proves that the true sum fits int32, so wrap-around on the way is harmless.
namespace octavo {

// One N-block: nr output channels. The order of steps is free: sums modulo 2^32 have no order.
struct GemmS8Block {
  const int8_t* weights;           // [step_count][nr][step_bytes] s8, 64-byte aligned
  const int32_t* step_offset;      // [step_count] byte offset of a step from the row pointer
  const uint8_t* flipped_weights;  // [flipped_count][2][nr][4]: |w|, then masks; 64-byte aligned
  const int32_t* flipped_offset;   // [flipped_count]
  const int32_t* bias;             // [nr] with all corrections, in the kernel's column order
  const float* scale;              // [nr] requantize multipliers, in the kernel's column order
  int32_t step_count;              // even for kMaddubs, even and positive for kMlal, else positive
  int32_t flipped_count;           // 0 unless the path is kMaddubs
  int32_t flipped_pairs;           // flipped steps (2i, 2i + 1) are pairs for i < flipped_pairs
  int32_t n;  // valid columns, 1..nr; only the last block of a group has n < nr
};

struct GemmS8Args {
  // a_rows[i] + a_offset + step offset is read for step_bytes: up to 7 bytes past a segment's end,
  // so every buffer needs 7 readable bytes of slack; their value does not matter (weights are 0).
  const uint8_t* const* a_rows = nullptr;  // round_up(m, mr) entries: past m, entry m-1 again
  uint8_t* const* c_rows = nullptr;        // likewise; exactly n bytes of a row are written
  ptrdiff_t a_offset = 0;                  // added to each a_rows entry (group offset)
  ptrdiff_t c_offset = 0;                  // added to each c_rows entry (group offset)
  int32_t m = 0;
  const GemmS8Block* blocks = nullptr;  // block j writes c_rows[i][c_offset + j*nr ..][0, n)
  int32_t block_begin = 0, block_end = 0;
  Requant requant;
  // If set, nothing is requantized: block j writes the nr accumulators of row i, valid or not, in
  // their packed order, to sum_rows[i] + c_offset + j*nr. round_up(m, mr) entries like c_rows.
  int32_t* const* sum_rows = nullptr;
};

using GemmS8Fn = void (*)(const GemmS8Args& args);

// How a kernel wants its weights. Everything that differs between rows is here, so pack.cc and
// select.cc are written once.
enum class GemmS8Path : uint8_t {
  // vpdpbusd, vpmaddwd, sdot, scalar: any s8 weights. A step whose weights leave s8 is repeated
  // with the rest.
  kDot,
  // vpmaddubsw saturates at int16, so pack proves that no lane can get there. The s8 steps come in
  // pairs whose products may even be added as int16 before vpmaddwd widens them. All others are
  // flipped: |w| is the unsigned operand and A ^ mask the signed one, mask 0x80 (A - 128) where
  // w >= 0 and 0x7f (127 - A) where w < 0. That halves the largest product and cancels nothing;
  // the bias takes back 128 * w or 127 * w. Flipped steps are paired too where that is safe.
  kMaddubs,
  // smmla: as kDot, in steps of 8 bytes.
  kMmla,
  // smull and smlal, which wrap at int16: steps come in pairs, and -128 is split like what leaves
  // s8, so that two products always fit.
  kMlal,
};

// Bytes of A, and of each column of the weights, in one step.
static constexpr int step_bytes(GemmS8Path path) { return path == GemmS8Path::kMmla ? 8 : 4; }

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

// What select needs to know of a layer (of one group).
struct GemmS8Shape {
  int64_t m;
  int32_t n, k;
};
const GemmS8Kernel& select_gemm_s8(Isa cap, const GemmS8Shape& shape);

// Declarations of every row's entry point.
#define OCTAVO_GEMM_S8(isa, name, mr, nr, path, column) void name(const GemmS8Args& args);
#include "kernels/gemm_s8/kernels.inc"
#undef OCTAVO_GEMM_S8

}  // namespace octavo
