// SPDX-License-Identifier: Apache-2.0
#include "base/isa.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
// Older headers lack names of newer bits, whose places are the kernel's ABI.
#if !defined(HWCAP_ASIMDDP)
#define HWCAP_ASIMDDP (1ul << 20)
#endif
#if !defined(HWCAP2_I8MM)
#define HWCAP2_I8MM (1ul << 13)
#endif
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__) && defined(_WIN32)
#include <windows.h>
#endif

namespace octavo {
namespace {

constexpr const char* kNames[kIsaCount] = {"scalar", "avx2", "avxvnni", "avx512vnni",
                                           "amx",    "neon", "neondot", "neoni8mm"};

constexpr uint32_t bit_of(Isa isa) { return 1u << static_cast<int>(isa); }

#if defined(__x86_64__)

constexpr bool has_bit(uint32_t word, int bit) { return (word >> bit & 1u) != 0; }

// XCR0: which register files the operating system saves. Inline assembly because the intrinsic
// needs -mxsave, which the baseline does not have.
uint64_t read_xcr0() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

// Bit numbers are those of the CPUID leaves in the vendors' manuals.
uint32_t detect() {
  uint32_t found = bit_of(Isa::kScalar);
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
  const bool osxsave = has_bit(c, 27), avx = has_bit(c, 28), f16c = has_bit(c, 29),
             pclmul = has_bit(c, 1), fma = has_bit(c, 12);
  if (!osxsave || !avx) return found;
  const uint64_t xcr0 = read_xcr0();
  const bool os_ymm = (xcr0 & 0x06) == 0x06;         // XMM, YMM
  const bool os_zmm = (xcr0 & 0xe6) == 0xe6;         // + opmask, ZMM high halves
  const bool os_tile = (xcr0 & 0x60000) == 0x60000;  // tile configuration and data

  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  const uint32_t max_subleaf = a;
  const bool avx2 = os_ymm && has_bit(b, 5) && f16c && pclmul && fma;
  const bool avx512 = os_zmm && has_bit(b, 16) && has_bit(b, 17) && has_bit(b, 30) &&
                      has_bit(b, 31);  // F, DQ, BW, VL
  const bool vbmi = has_bit(c, 1), avx512_vnni = has_bit(c, 11);
  const bool amx = has_bit(d, 24) && has_bit(d, 25);  // tiles, int8
  bool avx_vnni = false;
  if (max_subleaf >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) avx_vnni = has_bit(a, 4);

  if (avx2) found |= bit_of(Isa::kAvx2);
  if (avx2 && avx_vnni) found |= bit_of(Isa::kAvxVnni);
  if (avx2 && avx512 && vbmi && avx512_vnni) {
    found |= bit_of(Isa::kAvx512Vnni);
    if (os_tile && amx) found |= bit_of(Isa::kAmx);
  }
  return found;
}

#elif defined(__aarch64__)

#if defined(__linux__)
bool has_dot_products() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
bool has_int8_matrices() { return (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }
#elif defined(__APPLE__)  // untested: no such machine here
bool sysctl_flag(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
bool has_dot_products() { return sysctl_flag("hw.optional.arm.FEAT_DotProd"); }
bool has_int8_matrices() { return sysctl_flag("hw.optional.arm.FEAT_I8MM"); }
#elif defined(_WIN32)     // untested: no such machine here
// PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE and PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE of newer SDKs.
bool has_dot_products() { return IsProcessorFeaturePresent(43) != 0; }
bool has_int8_matrices() { return IsProcessorFeaturePresent(66) != 0; }
#else
bool has_dot_products() { return false; }
bool has_int8_matrices() { return false; }
#endif

uint32_t detect() {
  uint32_t found = bit_of(Isa::kScalar) | bit_of(Isa::kNeon);  // Advanced SIMD is the baseline
  if (has_dot_products()) {
    found |= bit_of(Isa::kNeonDot);
    if (has_int8_matrices()) found |= bit_of(Isa::kNeonI8mm);
  }
  return found;
}

#else

uint32_t detect() { return bit_of(Isa::kScalar); }

#endif

constexpr uint32_t kBuilt = bit_of(Isa::kScalar)
#if OCTAVO_HAVE_AVX2
                            | bit_of(Isa::kAvx2)
#endif
#if OCTAVO_HAVE_AVXVNNI
                            | bit_of(Isa::kAvxVnni)
#endif
#if OCTAVO_HAVE_AVX512VNNI
                            | bit_of(Isa::kAvx512Vnni)
#endif
#if OCTAVO_HAVE_NEON
                            | bit_of(Isa::kNeon)
#endif
#if OCTAVO_HAVE_NEONDOT
                            | bit_of(Isa::kNeonDot)
#endif
#if OCTAVO_HAVE_NEONI8MM
                            | bit_of(Isa::kNeonI8mm)
#endif
    ;

uint32_t supported() {
  static const uint32_t mask = [] {
    uint32_t found = detect();
    if (isa_emulated() && (found & bit_of(Isa::kAvx2))) {
      found |= bit_of(Isa::kAvxVnni) | bit_of(Isa::kAvx512Vnni);
    }
    return found;
  }();
  return mask;
}

}  // namespace

const char* isa_name(Isa isa) { return kNames[static_cast<int>(isa)]; }

bool parse_isa(const char* name, Isa* isa) {
  for (int i = 0; i < kIsaCount; ++i) {
    if (std::strcmp(name, kNames[i]) == 0) {
      *isa = static_cast<Isa>(i);
      return true;
    }
  }
  return false;
}

bool isa_built(Isa isa) { return (kBuilt & bit_of(isa)) != 0; }

bool isa_supported(Isa isa) { return (supported() & bit_of(isa)) != 0; }

bool isa_allows(Isa cap, Isa row) {
  if (row == Isa::kScalar) return true;
  const bool row_is_arm = row >= Isa::kNeon, cap_is_arm = cap >= Isa::kNeon;
  return row_is_arm == cap_is_arm && row <= cap;
}

bool isa_usable(Isa cap, Isa row) {
  return isa_allows(cap, row) && isa_built(row) && isa_supported(row);
}

Isa best_isa() {
  for (int i = kIsaCount - 1; i > 0; --i) {
    const Isa isa = static_cast<Isa>(i);
    if (isa_built(isa) && isa_supported(isa)) return isa;
  }
  return Isa::kScalar;
}

bool isa_emulated() {
#if OCTAVO_EMULATE
  return true;
#else
  return false;
#endif
}

}  // namespace octavo
