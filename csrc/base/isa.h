// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

// Instruction sets that kernels are written for, and what this build and this CPU offer.
namespace octavo {

// Order within one architecture is the order of restriction: a cap allows every row before it.
enum class Isa : uint8_t {
  kScalar,
  kAvx2,
  kAvxVnni,
  kAvx512Vnni,
  kAmx,
  kNeon,
  kNeonDot,
  kNeonI8mm,
};
inline constexpr int kIsaCount = 8;

// The name used in kernel names, OCTAVO_ISA and file names: "scalar", "avx2", ...
const char* isa_name(Isa isa);

// False, leaving *isa alone, when the name is unknown.
bool parse_isa(const char* name, Isa* isa);

// The compiler knew the flags, so kernels of this row are in the binary.
bool isa_built(Isa isa);

// The CPU and the operating system can run this row.
bool isa_supported(Isa isa);

// A session restricted to `cap` may use `row`. Says nothing about the CPU: see isa_usable.
bool isa_allows(Isa cap, Isa row);

// Built, supported and allowed: what `select` asks of each row.
bool isa_usable(Isa cap, Isa row);

// The highest row that is built and supported.
Isa best_isa();

// True in the OCTAVO_EMULATE build, where AVX-512 rows run through SIMDe.
bool isa_emulated();

}  // namespace octavo
