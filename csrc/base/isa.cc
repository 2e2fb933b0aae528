// SPDX-License-Identifier: Apache-2.0
#include "base/isa.h"

#include <unistd.h>

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
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

uint32_t detect() {
  uint32_t found = bit_of(Isa::kScalar) | bit_of(Isa::kNeon);  // Advanced SIMD is the baseline
#if defined(__linux__)
  if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) {
    found |= bit_of(Isa::kNeonDot);
    if (getauxval(AT_HWCAP2) & HWCAP2_I8MM) found |= bit_of(Isa::kNeonI8mm);
  }
#endif
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

int64_t cache_bytes([[maybe_unused]] int name) {
#if defined(_SC_LEVEL1_DCACHE_SIZE)
  const long bytes = sysconf(name);
  return bytes > 0 ? bytes : 0;
#else
  return 0;
#endif
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

CpuCaches cpu_caches() {
#if defined(_SC_LEVEL1_DCACHE_SIZE)
  return {cache_bytes(_SC_LEVEL1_DCACHE_SIZE), cache_bytes(_SC_LEVEL2_CACHE_SIZE),
          cache_bytes(_SC_LEVEL3_CACHE_SIZE)};
#else
  return {cache_bytes(0), cache_bytes(0), cache_bytes(0)};
#endif
}

const char* cpu_brand() {
#if defined(__x86_64__)
  struct Brand {
    char text[49] = "unknown";
    Brand() {
      uint32_t words[12];
      for (uint32_t i = 0; i < 3; ++i) {
        uint32_t* w = words + 4 * i;
        if (!__get_cpuid(0x80000002u + i, &w[0], &w[1], &w[2], &w[3])) return;
      }
      std::memcpy(text, words, 48);
      text[48] = '\0';
    }
  };
  static const Brand brand;
  return brand.text + std::strspn(brand.text, " ");
#else
  return "unknown";
#endif
}

}  // namespace octavo
