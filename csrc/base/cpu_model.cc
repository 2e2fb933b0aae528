// SPDX-License-Identifier: Apache-2.0
#include "base/cpu_model.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#if defined(__linux__)
#include <unistd.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace octavo {
namespace {

struct ArmCore {
  uint32_t implementer, part;  // as in MIDR_EL1
  const char* name;
};

// Cores of the last ten years that run 64-bit systems, from Arm's technical reference manuals and
// Linux's asm/cputype.h.
constexpr ArmCore kArmCores[] = {
    {0x41, 0xd03, "Cortex-A53"},        {0x41, 0xd04, "Cortex-A35"},
    {0x41, 0xd05, "Cortex-A55"},        {0x41, 0xd07, "Cortex-A57"},
    {0x41, 0xd08, "Cortex-A72"},        {0x41, 0xd09, "Cortex-A73"},
    {0x41, 0xd0a, "Cortex-A75"},        {0x41, 0xd0b, "Cortex-A76"},
    {0x41, 0xd0c, "Neoverse-N1"},       {0x41, 0xd0d, "Cortex-A77"},
    {0x41, 0xd0e, "Cortex-A76AE"},      {0x41, 0xd40, "Neoverse-V1"},
    {0x41, 0xd41, "Cortex-A78"},        {0x41, 0xd42, "Cortex-A78AE"},
    {0x41, 0xd44, "Cortex-X1"},         {0x41, 0xd46, "Cortex-A510"},
    {0x41, 0xd47, "Cortex-A710"},       {0x41, 0xd48, "Cortex-X2"},
    {0x41, 0xd49, "Neoverse-N2"},       {0x41, 0xd4a, "Neoverse-E1"},
    {0x41, 0xd4b, "Cortex-A78C"},       {0x41, 0xd4c, "Cortex-X1C"},
    {0x41, 0xd4d, "Cortex-A715"},       {0x41, 0xd4e, "Cortex-X3"},
    {0x41, 0xd4f, "Neoverse-V2"},       {0x46, 0x001, "Fujitsu A64FX"},
    {0x48, 0xd01, "Kunpeng 920"},       {0x4e, 0x004, "NVIDIA Carmel"},
    {0x51, 0x802, "Kryo 3XX Gold"},     {0x51, 0x803, "Kryo 3XX Silver"},
    {0x51, 0x804, "Kryo 4XX Gold"},     {0x51, 0x805, "Kryo 4XX Silver"},
    {0x61, 0x022, "Apple M1 Icestorm"}, {0x61, 0x023, "Apple M1 Firestorm"},
    {0x61, 0x032, "Apple M2 Blizzard"}, {0x61, 0x033, "Apple M2 Avalanche"},
    {0xc0, 0xac3, "Ampere-1"},
};

std::string arm_core(uint32_t implementer, uint32_t part) {
  for (const ArmCore& core : kArmCores) {
    if (core.implementer == implementer && core.part == part) return core.name;
  }
  char text[64];
  std::snprintf(text, sizeof text, "Arm core 0x%03x of implementer 0x%02x", part, implementer);
  return text;
}

// The number after the colon of "CPU part\t: 0xd0b".
uint32_t field(const std::string& line) {
  const size_t colon = line.find(':');
  return colon == std::string::npos
             ? 0
             : static_cast<uint32_t>(std::strtoul(line.c_str() + colon + 1, nullptr, 0));
}

bool starts(const std::string& line, const char* word) { return line.rfind(word, 0) == 0; }

#if defined(__linux__)
CpuCaches sysconf_caches() {
#if defined(_SC_LEVEL1_DCACHE_SIZE)
  const auto bytes = [](int name) { return std::max<int64_t>(0, sysconf(name)); };
  return {bytes(_SC_LEVEL1_DCACHE_SIZE), bytes(_SC_LEVEL2_CACHE_SIZE),
          bytes(_SC_LEVEL3_CACHE_SIZE)};
#else
  return {0, 0, 0};
#endif
}
#elif defined(__APPLE__)
// Untested: no such machine here. The fast cores come first.
int64_t sysctl_bytes(const char* name) {
  int64_t value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}
#endif

std::string find_brand() {
#if defined(__x86_64__)
  uint32_t words[12];
  for (uint32_t i = 0; i < 3; ++i) {
    uint32_t* w = words + 4 * i;
    if (!__get_cpuid(0x80000002u + i, &w[0], &w[1], &w[2], &w[3])) return "unknown";
  }
  char text[49] = {};
  std::memcpy(text, words, 48);
  return text + std::strspn(text, " ");
#elif defined(__APPLE__)
  char text[128] = {};
  size_t size = sizeof text - 1;
  if (sysctlbyname("machdep.cpu.brand_string", text, &size, nullptr, 0) == 0) return text;
  return "unknown";
#elif defined(__aarch64__) && defined(__linux__)
  const std::string cores = arm_cores("/proc/cpuinfo");
  if (!cores.empty()) return cores;
#if defined(HWCAP_CPUID)
  // qemu-user shows the host's /proc/cpuinfo, but emulates the register.
  if (getauxval(AT_HWCAP) & HWCAP_CPUID) {
    uint64_t midr;
    __asm__("mrs %0, MIDR_EL1" : "=r"(midr));
    const uint32_t implementer = midr >> 24 & 0xff, part = midr >> 4 & 0xfff;
    if (implementer != 0) return arm_core(implementer, part);
  }
#endif
  return "unknown";
#else
  return "unknown";
#endif
}

}  // namespace

CpuCaches sysfs_caches(const std::string& folder) {
  CpuCaches found{0, 0, 0};
  for (int i = 0; i < 8; ++i) {
    const std::string index = folder + "/index" + std::to_string(i);
    int level = 0;
    int64_t size = 0;
    char unit = 0;
    std::string type;
    std::ifstream(index + "/level") >> level;
    std::ifstream(index + "/type") >> type;
    std::ifstream(index + "/size") >> size >> unit;
    if (size < 0 || size > 1 << 20) continue;
    size *= unit == 'K' ? 1 << 10 : unit == 'M' ? 1 << 20 : 1;
    if (type == "Instruction") continue;
    if (level == 1) found.l1d = size;
    if (level == 2) found.l2 = size;
    if (level == 3) found.l3 = size;
  }
  return found;
}

CpuCaches cpu_caches() {
#if defined(__linux__)
  CpuCaches found = sysconf_caches();
  const CpuCaches listed = sysfs_caches("/sys/devices/system/cpu/cpu0/cache");
  if (found.l1d == 0) found.l1d = listed.l1d;
  if (found.l2 == 0) found.l2 = listed.l2;
  if (found.l3 == 0) found.l3 = listed.l3;
  return found;
#elif defined(__APPLE__)
  return {sysctl_bytes("hw.l1dcachesize"), sysctl_bytes("hw.l2cachesize"), 0};
#else
  return {0, 0, 0};
#endif
}

std::string arm_cores(const std::string& cpuinfo) {
  std::ifstream lines(cpuinfo);
  std::string found;
  uint32_t implementer = 0;
  for (std::string line; std::getline(lines, line);) {
    if (starts(line, "CPU implementer")) implementer = field(line);
    if (!starts(line, "CPU part")) continue;
    const std::string core = arm_core(implementer, field(line));
    const std::string all = " + " + found + " + ";
    if (all.find(" + " + core + " + ") == std::string::npos) {
      found += (found.empty() ? "" : " + ") + core;
    }
  }
  return found;
}

const char* cpu_brand() {
  static const std::string brand = find_brand();
  return brand.c_str();
}

}  // namespace octavo
