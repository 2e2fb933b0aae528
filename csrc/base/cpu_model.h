// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>

// What a person wants to know of the CPU; no result depends on it.
namespace octavo {

struct CpuCaches {  // bytes; 0 when the system does not tell
  int64_t l1d, l2, l3;
};
CpuCaches cpu_caches();

// Marketing name; on Arm the kinds of cores, "Cortex-A76 + Cortex-A55". "unknown" if nothing tells.
const char* cpu_brand();

// Caches as in /sys/devices/system/cpu/cpu0/cache, a folder index<i> for each.
CpuCaches sysfs_caches(const std::string& folder);

// The kinds of Arm cores in a file like /proc/cpuinfo, each once; empty when it names none.
std::string arm_cores(const std::string& cpuinfo);

}  // namespace octavo
