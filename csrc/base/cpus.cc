// SPDX-License-Identifier: Apache-2.0
#include "base/cpus.h"

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <fstream>
#include <string>
#include <thread>

namespace octavo {
namespace {

// The smaller quota, where 0 is none.
int tighter(int a, int b) { return a == 0 || (b != 0 && b < a) ? b : a; }

int quota_cpus(double quota_us, double period_us) {
  if (!(quota_us > 0) || !(period_us > 0)) return 0;
  const double cpus = quota_us / period_us;
  if (cpus >= 1 << 20) return 0;
  const int whole = static_cast<int>(cpus);
  return std::max(1, whole < cpus ? whole + 1 : whole);
}

// One group's own quota. "max" (version 2) and -1 (version 1) mean none.
int quota_of(const std::string& group, bool version2) {
  double quota = 0, period = 0;
  if (version2) {
    std::ifstream(group + "/cpu.max") >> quota >> period;
  } else {
    std::ifstream(group + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(group + "/cpu.cfs_period_us") >> period;
  }
  return quota_cpus(quota, period);
}

int tightest_quota(const std::string& mount, std::string path, bool version2) {
  int found = 0;
  for (;;) {
    while (!path.empty() && path.back() == '/') path.pop_back();
    found = tighter(found, quota_of(mount + path, version2));
    if (path.empty()) return found;
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
}

bool has_cpu_controller(const std::string& controllers) {
  return ("," + controllers + ",").find(",cpu,") != std::string::npos;
}

}  // namespace

int cgroup_quota_cpus(const char* membership, const char* mount) {
  std::ifstream lines(membership);
  int found = 0;
  for (std::string line; std::getline(lines, line);) {  // hierarchy:controllers:path
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      found = tighter(found, tightest_quota(mount, path, true));
    } else if (has_cpu_controller(controllers)) {
      found = tighter(found, tightest_quota(mount + std::string("/cpu"), path, false));
    }
  }
  return found;
}

int available_cpus() {
  int cpus = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = std::max(1, CPU_COUNT(&set));
  const int quota = cgroup_quota_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
  if (quota > 0) cpus = std::min(cpus, quota);
#endif
  return cpus;
}

}  // namespace octavo
