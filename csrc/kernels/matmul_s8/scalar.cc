// SPDX-License-Identifier: Apache-2.0
// The norm of matmul_s8: the other rows equal this file bit by bit.
#include "kernels/matmul_s8/matmul_s8.h"
#include "kernels/round_scalar.h"
#include "kernels/stored.h"

namespace octavo {
namespace {

constexpr int kNr = 32;

int16_t* block_of(uint8_t* packed, int64_t j, int64_t k) {
  return reinterpret_cast<int16_t*>(packed + j / kNr * matmul_s8_block_bytes(kNr, 2, k) + kNr * 4);
}

}  // namespace

// Blocks hold [k][kNr] values b - zb.
void pack_matmul_s8_scalar(const MatmulS8Pack& p) {
  for (int64_t j = 0; j < p.n; ++j) {
    int16_t* out = block_of(p.packed, j, p.k) + j % kNr;
    const uint8_t* b = p.b + j * p.n_stride;
    for (int64_t k = 0; k < p.k; ++k) {
      out[k * kNr] = static_cast<int16_t>(value_of(b[k * p.k_stride]) - p.b_zero_point);
    }
  }
}

void matmul_s8_1x32_scalar(const MatmulS8Args& args) {
  const Requant& rq = args.requant;
  for (int64_t i = 0; i < args.m; ++i) {
    const uint8_t* a = args.a + i * args.a_stride;
    uint8_t* c = args.c + i * args.c_stride;
    for (int64_t j = 0; j < args.n; ++j) {
      const int16_t* b = block_of(const_cast<uint8_t*>(args.packed), j, args.k) + j % kNr;
      uint32_t sum = 0;  // wraps by definition
      for (int64_t k = 0; k < args.k; ++k) {
        sum += static_cast<uint32_t>((value_of(a[k]) - args.a_zero_point) * b[k * kNr]);
      }
      const float v = static_cast<float>(static_cast<int32_t>(sum)) * args.scale;
      c[j] = stored_of(round_clamped(v, rq.lo, rq.hi) + rq.zero_point);
    }
  }
}

}  // namespace octavo
