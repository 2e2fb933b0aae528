// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

// The floating point environment that docs/numerics.md assumes: round to nearest even, subnormals
// kept (no FTZ, no DAZ), exceptions masked. A caller may have set anything (a rounding mode, or
// flush-to-zero by some library built with -ffast-math); results must not depend on it.
namespace octavo {

class ScopedFpEnv {
 public:
  ScopedFpEnv() : saved_(read()) { write(kDefault); }
  ~ScopedFpEnv() { write(saved_); }
  ScopedFpEnv(const ScopedFpEnv&) = delete;
  ScopedFpEnv& operator=(const ScopedFpEnv&) = delete;

 private:
#if defined(__x86_64__)
  using Word = uint32_t;
  static constexpr Word kDefault = 0x1f80;  // MXCSR at reset: six masks set, RC = nearest
  static Word read() {
    Word word;
    __asm__ volatile("stmxcsr %0" : "=m"(word));
    return word;
  }
  static void write(Word word) { __asm__ volatile("ldmxcsr %0" : : "m"(word) : "memory"); }
#elif defined(__aarch64__)
  using Word = uint64_t;
  static constexpr Word kDefault = 0;  // FPCR at reset: RN, FZ = 0, no traps
  static Word read() {
    Word word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    return word;
  }
  static void write(Word word) { __asm__ volatile("msr fpcr, %0" : : "r"(word) : "memory"); }
#else
#error "octavo supports x86-64 and aarch64"
#endif

  Word saved_;
};

}  // namespace octavo
